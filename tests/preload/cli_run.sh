#!/bin/bash
# SPDX-License-Identifier: MIT
# `anydma run`: the program's exit status or its own, its options, the summary of --stats, and its place in LD_PRELOAD.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" tests/preload/basics tests/preload/plugins/early.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
basics=$BUILD/tests/preload/basics

# expect NAME WANTED GOT: a pattern.
expect() {
    # shellcheck disable=SC2254 # a pattern
    case $3 in
    $2) echo "ok - $1" ;;
    *)
        echo "not ok - $1"
        printf '%s: got: %s\n   expected: %s\n' "$1" "$3" "$2" >&2
        status=1
        ;;
    esac
}
# run ARGUMENT...: sets code, out and err.
run() {
    "$ANYDMA" run "$@" >"$work/out" 2>"$work/err" </dev/null
    code=$?
    out=$(cat "$work/out") err=$(cat "$work/err")
}

run --iommu=sim -- "$basics" tell
expect runs_the_program_with_the_shim '0|active=1 heap=arena * pinned=some *|' "$code|$out|$err"
run --iommu=sim "$basics" tell
expect needs_no_dashes '0|active=1 *' "$code|$out"
run --iommu sim --mode=eager --verbose 0 -- "$basics" tell
expect takes_values_either_way '0|active=1 *' "$code|$out"
run -- sh -c 'exit 43'
expect exits_with_the_programs_status 43 $code
run -- sh -c 'kill -9 $$' 2>/dev/null
expect dies_of_the_programs_signal 137 $code
run -- sh -c 'echo "$1|$2" "$3"' - --stats -- 'a  b'
expect leaves_the_programs_arguments_alone '--stats|-- a  b' "$out"
run -- "$work/no-such-program"
expect program_not_found '127|*no-such-program*' "$code|$err"
run -- no-such-program-on-the-path
expect program_not_found_on_the_path '127|*no-such-program-on-the-path*' "$code|$err"
run --iommu=sim --stats -- ls -d / # closes stderr before it ends
expect tells_its_summary_when_stderr_is_closed '0|/|*anydma: summary of process*  waiting *' "$code|$out|$err"
run --iommu=sim -o "$work/ls.capture" -- ls -d /
expect tells_of_the_capture_when_stderr_is_closed '0|/|*ls.capture*' "$code|$out|$err"
touch "$work/not-executable"
run -- "$work/not-executable"
expect program_not_executable '126|*not-executable*' "$code|$err"
run -- "$work"
expect directory_is_not_executable 126 $code
run
expect no_program_is_an_error '125|*usage*' "$code|$err"
run --
expect dashes_alone_are_an_error '125|*usage*' "$code|$err"
run --no-such-option -- true
expect unknown_option_is_an_error '125|*no-such-option*' "$code|$err"
run --mode=sometimes -- true
expect wrong_value_is_an_error '125|*--mode*auto|lazy|eager*sometimes*' "$code|$err"
for option in limit=abc limit=0 granule=3K granule=2K sample=1X depth=0 depth=65 verbose=4 check=3; do
    run --$option -- "$basics" tell
    expect "${option/=/_}_is_an_error" "125||anydma run: --${option%%=*} takes *, not '${option#*=}'" "$code|$out|$err"
done
run --mode
expect missing_value_is_an_error '125|*mode*' "$code|$err"
run --help
expect help_is_on_stdout '0|*usage*--mode*--iommu*--stats*|' "$code|$out|$err"

# Each option sets its variable.
for option in mode=eager iommu=sim heap=system granule=4K foreign=refuse thp=never limit=1G sample=64K depth=3 \
    output=/dev/null check=0 verbose=0; do
    run --"$option" -- printenv "ANYDMA_$(tr '[:lower:]' '[:upper:]' <<<"${option%%=*}")"
    expect "option_${option%%=*}_is_passed_on" "0|${option#*=}" "$code|$out"
done

run --iommu=sim --stats -- "$basics" tell
expect stats_keep_stdout_clean '0|active=1 *' "$code|$(cat "$work/out")"
expect stdout_is_one_line 1 "$(wc -l <"$work/out")"
for word in 'summary of process' containers simulated mappings pinned memlock entries ioctls failures; do
    expect "stats_show_${word// /_}" "*$word*" "$err"
done
run --iommu=none --stats -- true
expect stats_say_when_nothing_was_looked_up '*nothing was looked up or mapped*' "$err"
run --stats -- bash -c 'exit 9'
expect stats_keep_the_status '9|*summary*' "$code|$err"

# Others' preloads stay, behind ours; a program started by the program has them too.
LD_PRELOAD=$BUILD/tests/preload/plugins/early.so run --iommu=sim -- sh -c 'echo "$LD_PRELOAD"'
expect other_preloads_stay "*libanydma.so.0:$BUILD/tests/preload/plugins/early.so" "$out"
run --iommu=sim -- sh -c "exec '$basics' tell"
expect grandchildren_have_the_shim 'active=1 heap=arena*' "$out"

# An installed command finds the library in ../lib; a path that LD_PRELOAD can't express is told.
mkdir -p "$work/i/bin" "$work/i/lib" "$work/a b"
cp "$ANYDMA" "$work/i/bin/" && cp "$SHIM" "$work/i/lib/"
expect installed_command_finds_the_library 'active=1 heap=arena*' "$("$work/i/bin/anydma" run --iommu=sim -- "$basics" tell)"
cp "$ANYDMA" "$SHIM" "$work/a b/"
"$work/a b/anydma" run -- true 2>"$work/err"
expect path_with_a_blank_is_an_error '125|*LD_PRELOAD*' "$?|$(cat "$work/err")"
cp "$ANYDMA" "$work/lonely"
"$work/lonely" run -- true 2>"$work/err"
expect missing_library_is_an_error '125|*libanydma.so.0*' "$?|$(cat "$work/err")"
# The capture: named if need be, refused before the start where it can't be written, and told of in one line at the end.
cd "$work" || exit 1
run --iommu=sim -o -- "$basics" tell
expect output_without_a_name_picks_one '0|active=1 *' "$code|$out"
expect the_end_is_one_line "anydma: basics.*.capture: peak *, waste * (*%)*; \`anydma report basics.*.capture\` says more" "$err"
expect the_end_is_one_line_only 1 "$(wc -l <"$work/err")"
run --iommu=sim -o "$work/no/such/folder" -- "$basics" tell
expect unwritable_output_is_refused_before_the_start "125||anydma run: the capture can't be written: */no/such/folder: No such file*" "$code|$out|$err"
echo precious >"$work/precious"
run -o "$work/precious" -- "$basics" tell
expect a_file_that_is_no_capture_is_not_overwritten '125|*precious is there and is not a capture*|precious' "$code|$err|$(cat "$work/precious")"
run -o "$work/true.cap" -- true
expect a_capture_of_nothing_says_why '0|*true.cap: nothing was pinned: no device was attached and nothing was looked up*' "$code|$err"
run -o "$work/killed.cap" -- sh -c 'kill -9 $$' 2>"$work/said"
expect a_killed_program_has_its_status 137 "$code"
# SIGCHLD and wait belong to the program: it notices no child of the shim's.
run --iommu=sim -o "$work/child.cap" -- bash -c 'trap "echo child >&2" CHLD; wait; exit 7'
expect the_line_is_no_child_of_the_programs '7|' "$code|$(grep child "$work/err" | grep -v child.cap)"

# What a preload can't see into is told before it runs. The kernel would say nothing.
printf 'int main(void) { return 5; }' >"$work/p.c"
gcc -static -o "$work/static" "$work/p.c" && run -- "$work/static"
expect a_static_program_is_refused '125|*static is linked statically: nothing can be preloaded into it; --anyway*' "$code|$err"
run --anyway -- "$work/static"
expect and_runs_anyway '5|*static is linked statically*' "$code|$err"
# gcc's sanitizers want to be the first library.
for sanitizer in address thread; do
    gcc -fsanitize=$sanitizer -o "$work/$sanitizer" "$work/p.c" || continue
    run --iommu=sim --stats -- "$work/$sanitizer"
    expect "a_program_with_the_${sanitizer}_sanitizer_runs" '5|*anydma: summary*' "$code|$err"
done
printf '#!%s/static\n' "$work" >"$work/script" && chmod +x "$work/script"
run -- "$work/script"
expect a_script_is_its_interpreter '125|*linked statically*' "$code|$err"
gcc -o "$work/dynamic" "$work/p.c"
if [ "$(id -u)" = 0 ]; then
    chown 1 "$work/dynamic" && chmod u+s "$work/dynamic"
    run -- "$work/dynamic"
    expect a_setuid_program_is_refused '125|*dynamic is setuid*' "$code|$err"
fi
gcc -o "$work/capable" "$work/p.c" && gcc -o "$work/other" "$work/p.c" -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1
run -- "$work/other"
expect a_musl_program_is_refused '125|*other is linked with musl*' "$code|$err"
# The header of a 32-bit program: the class is its fifth byte.
{ head -c 4 "$work/capable" && printf '\001' && tail -c +6 "$work/capable"; } >"$work/narrow" && chmod +x "$work/narrow"
run -- "$work/narrow"
expect a_32_bit_program_is_refused '125|*narrow is a 32-bit program*' "$code|$err"
# The command itself needs no library that only reports need.
expect run_needs_libc_alone '' "$(ldd "$ANYDMA" | grep -vE 'linux-vdso|libm\.so|libc\.so|ld-linux')"
cd "$OLDPWD" || exit 1

"$ANYDMA" reprot 2>"$work/err"
expect a_mistyped_command_is_guessed '125|*did you mean `anydma report`*' "$?|$(cat "$work/err")"
expect help_of_a_command 'usage: anydma check *' "$("$ANYDMA" help check)"
expect version_is_printed_by_V 'anydma [0-9]*' "$("$ANYDMA" -V)"
"$ANYDMA" report --bogus 2>"$work/err"
expect messages_begin_with_the_command "125|anydma report: *bogus*" "$?|$(cat "$work/err")"
expect version_is_printed 'anydma [0-9]*' "$("$ANYDMA" version)"
"$ANYDMA" no-such-command 2>"$work/err"
expect unknown_command_is_an_error '125|*no-such-command*' "$?|$(cat "$work/err")"
exit $status
