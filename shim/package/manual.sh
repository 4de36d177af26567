#!/bin/sh
# SPDX-License-Identifier: MIT
# Fills a page of the manual in: manual.sh ANYDMA VERSION <page.in >page. A line "@options COMMAND" becomes the command's options,
# "@variables" the variables, as ANYDMA prints them; @VERSION@ the version.
set -eu
anydma=$1 version=$2
while IFS= read -r line; do
    case $line in
    @options\ *) "$anydma" completion man "${line#@options }" ;;
    @variables) "$anydma" completion man variables ;;
    *) printf '%s\n' "$line" | sed "s/@VERSION@/$version/g" ;;
    esac
done
