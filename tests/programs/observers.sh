#!/bin/bash
# SPDX-License-Identifier: MIT
# What watches a program watches it under `anydma run`, too, lazily and in eager mode: gcc's and clang's sanitizers, valgrind, gdb,
# strace, heaptrack. Each leaves a program alone that is right, and finds what is wrong with it as without the shim.
# @limit 240
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
export DEBUGINFOD_URLS=

cat >"$work/watched.c" <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static long sums;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int is_racy;

static void *work(void *arg)
{
    long sum = 0;
    for (size_t i = 1; i < 2000; i++) {
        char *block = realloc(malloc(i * 7), i * 9);
        memset(block, (int)i, i * 9);
        sum += block[i] & 1;
        free(block);
    }
    if (is_racy) {
        sums += sum;
        return arg;
    }
    pthread_mutex_lock(&lock);
    sums += sum;
    pthread_mutex_unlock(&lock);
    return arg;
}

static void use_after_free(void)
{
    char *volatile gone = malloc(100);
    free(gone);
    gone[10] = 1;
}

int main(int argc, char **argv)
{
    pthread_t threads[4];
    const char *wrong = argc > 1 ? argv[1] : "nothing";
    is_racy = !strcmp(wrong, "race");
    char *map = mmap(0, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(map, 1, 8 << 20);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, work, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    pid_t child = fork();
    if (child == 0)
        _exit(map[5]);
    int status;
    waitpid(child, &status, 0);
    munmap(map, 8 << 20);
    if (!strcmp(wrong, "gone"))
        use_after_free();
    if (!is_racy)
        printf("sum %ld, child %d\n", sums, WEXITSTATUS(status));
    return 5;
}
END
build() {
    local compiler=$1 name=$2
    shift 2
    "$compiler" -w -g -O0 -pthread -o "$work/$name" "$work/watched.c" "$@" 2>"$work/build"
}
build gcc watched || exit 1

# watch NAME FOUND COMMAND...: the command says FOUND (a pattern of grep) plainly and under the shim, ends with the same status and
# prints the same.
watch() {
    local name=$1 found=$2 mode code plain
    shift 2
    "$@" >"$work/plain.out" 2>"$work/plain.err" </dev/null
    plain=$?
    if ! grep -aqE "$found" "$work/plain.out" "$work/plain.err"; then
        echo "ok - $name # SKIP it does not find it here without the shim either"
        cat "$work"/plain.{out,err} >&2
        return
    fi
    for mode in auto eager; do
        "$ANYDMA" run --iommu=sim --mode=$mode -- "$@" >"$work/out" 2>"$work/err" </dev/null
        code=$?
        if [ $code = $plain ] && cmp -s "$work/plain.out" "$work/out" && grep -aqE "$found" "$work/out" "$work/err"; then
            echo "ok - $name, $mode"
        else
            echo "not ok - $name, $mode (status $code for $plain)"
            diff "$work/plain.out" "$work/out" >&2
            cat "$work/err" >&2
            status=1
        fi
    done
}

right='^sum 4000, child 1$'
for compiler in gcc clang; do
    for sanitizer in address thread undefined; do
        name=${compiler}_$sanitizer
        command -v $compiler >/dev/null && build $compiler "$name" -fsanitize=$sanitizer || {
            echo "ok - $name # SKIP it is not installed"
            continue
        }
        watch "${name}_leaves_alone_what_is_right" "$right" "$work/$name"
        case $sanitizer in
        address) watch "${name}_finds_a_use_after_free" heap-use-after-free "$work/$name" gone ;;
        thread) watch "${name}_finds_a_race" 'data race' "$work/$name" race ;;
        esac
    done
done
valgrind=(valgrind -q --error-exitcode=9)
watch valgrind_leaves_alone_what_is_right "$right" "${valgrind[@]}" "$work/watched"
watch valgrind_finds_a_use_after_free 'Invalid write of size 1' "${valgrind[@]}" "$work/watched" gone
export work
strace_job() {
    strace -f -e trace=clone,clone3,wait4 -o "$work/trace" "$work/watched"
    echo "$? $(grep -cE 'clone3?\(.*(<unfinished|= [0-9])' "$work/trace") starts, $(grep -cE 'wait4.*WEXITSTATUS' "$work/trace")"
}
export -f strace_job
watch strace_sees_the_calls '^5 5 starts' bash -c strace_job
# The program's memory is counted by the function that it calls, which is the shim's.
heaptrack_job() {
    heaptrack -o "$work/heap" "$work/watched" 2>&1 | grep -aE '^sum|^\s+(leaked )?allocations:'
}
export -f heaptrack_job
watch heaptrack_counts_the_allocations '\ballocations:.*15[0-9]{3}' bash -c heaptrack_job
# A breakpoint, a function of the program's own called by hand, memory looked at, and a crash.
cat >"$work/commands" <<'END'
set startup-with-shell off
break use_after_free
run gone
print (long)sums
print ((char *(*)(unsigned long))malloc)(64) != 0
backtrace 2
info threads
continue
END
gdb_job() {
    gdb -batch -nx -x "$work/commands" "$work/watched" 2>&1 | grep -aE '^(\$|#|Breakpoint 1, |\[Inferior 1)' | sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/process [0-9]+/process/'
}
export -f gdb_job
watch gdb_stops_and_calls '^\$1 = 4000$' bash -c gdb_job
exit $status
