#!/bin/bash
# SPDX-License-Identifier: MIT
# The same with ten million events.
# @all
# @limit 1800
EVENTS=10000000 exec bash "$(dirname "$0")/large.sh"
