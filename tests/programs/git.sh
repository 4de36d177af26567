#!/bin/bash
# SPDX-License-Identifier: MIT
# git under the shim: commits, a clone, history, a repack and a check of a small repository; the same as without.
. "$(dirname "$0")/compare.inc"
source=$PWD
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org

history() {
    git -c init.defaultBranch=main init -q repo && cd repo || return
    for n in 1 2 3 4; do
        for file in "$source"/shim/[dm]*/*.c; do
            sed -n "1,$((n * 40))p" "$file" >"$(basename "$file")"
        done
        git add -A && git commit -q -m "state $n" || return
    done
    git log --stat --oneline && git diff HEAD~3 | sha256sum && git blame registry.c | sha256sum
    git -c pack.threads=2 gc -q --prune=now && git fsck --full --no-progress && git count-objects -v | grep -E 'packs|count'
    cd .. && git clone -q --no-local repo clone && git -C clone log --format='%H %T'
    git -C clone grep -n 'static' | sha256sum
    rm -rf repo/.git clone/.git # indexes hold times
}

compare history history
compare_end
