#!/bin/bash
# SPDX-License-Identifier: MIT
# The completions of bash, zsh and fish, asked as the shell would: commands, options, the words that they take.
set -uo pipefail
# shellcheck source=tests/setup.bash
. "$(dirname "$0")/../setup.bash" anydma
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
for shell in bash zsh fish; do
    "$ANYDMA" completion $shell >"$work/$shell" || exit 1
done

# expect NAME WANTED GOT: a pattern, over the offers in one line.
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

# in_bash WORD...: what is offered for the last one.
in_bash() {
    bash --norc -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _anydma; echo "${COMPREPLY[*]}"' "$work/bash" "$@"
}
touch "$work/a.capture"
expect bash_commands 'run report *top*version*' "$(in_bash anydma '')"
expect bash_a_command report "$(in_bash anydma rep)"
expect bash_options '--mode=' "$(in_bash anydma run --mo)"
expect bash_words 'auto lazy eager' "$(in_bash anydma run --mode = '')"
expect bash_words_after_the_sign 'auto lazy eager' "$(in_bash anydma run --mode =)"
expect bash_a_word lazy "$(in_bash anydma run --mode = la)"
expect bash_words_of_a_letter 'pprof' "$(in_bash anydma export -f pp)"
expect bash_files "$work/a.capture" "$(in_bash anydma report "$work/a.c")"
expect bash_files_of_an_option "$work/a.capture" "$(in_bash anydma run -o "$work/a.c")"
expect bash_programs '*printenv*' "$(in_bash anydma run --stats -- printe)"
expect bash_processes '*1*' "$(in_bash anydma top '')"
expect bash_shells 'zsh' "$(in_bash anydma completion z)"

in_fish() {
    fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$work/fish" "$1" | cut -f 1 | sort | tr '\n' ' '
}
if command -v fish >/dev/null; then
    expect fish_commands '*report run *' "$(in_fish 'anydma r')"
    expect fish_options '--mode *' "$(in_fish 'anydma run --mo')"
    expect fish_words '*--mode=auto --mode=eager --mode=lazy *' "$(in_fish 'anydma run --mode=')"
    expect fish_words_of_a_letter '*pprof *' "$(in_fish 'anydma export -f ')"
    expect fish_programs '*printenv*' "$(in_fish 'anydma run printen')"
else
    echo 'ok - fish skipped: it is not there'
fi

# zsh completes on a terminal only: it gets one of its own, and the test waits for what it should write there.
if command -v zsh >/dev/null; then
    mkdir "$work/functions"
    cp "$work/zsh" "$work/functions/_anydma"
    cat >"$work/ask.zsh" <<'END'
zmodload zsh/zpty
zpty shell TERM=dumb zsh -f -i
zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; bindkey '^X' list-choices; print REA''DY"
zpty -r -m shell text '*READY*'
zpty -n -w shell "$2"$'\C-x' # lists what could follow
zpty -r -m shell text "$3" && print -r -- $text
END
    # in_zsh TEXT PATTERN
    in_zsh() {
        timeout -s KILL 20 zsh -f "$work/ask.zsh" "$work/functions" "$1" "$2" 2>&1 | tr -d '\r' | tr '\n' ' '
    }
    expect zsh_commands '*report*' "$(in_zsh 'anydma r' '*report*run*')"
    expect zsh_words '*lazy*' "$(in_zsh 'anydma run --mode=' '*auto*lazy*')"
    expect zsh_options '*--max-failures*' "$(in_zsh 'anydma check --ma' '*--max-failures*')"
else
    echo 'ok - zsh skipped: it is not there'
fi
exit $status
