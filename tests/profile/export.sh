#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2154 # work and failures are common.bash's
# Exports, read by readers that are not ours where there is one: protoc with the published field numbers re-typed, the
# Prometheus client's OpenMetrics parser; else checked against the formats' rules.
# shellcheck source=tests/profile/common.bash
. "$(dirname "$0")/common.bash"
capture "$work/w.cap" -- "$BUILD/examples/wasteful" >/dev/null
"$ANYDMA" report --json "$work/w.cap" >"$work/w.json"
for format in folded pprof speedscope chrome openmetrics; do
    expect "$format is written" "$ANYDMA" export -f $format -o "$work/w.$format" "$work/w.cap"
done

expect "folded: stacks, and a sum that is the report's" python3 -c "
import json
total = sum(int(line.rsplit(' ', 1)[1]) for line in open('$work/w.folded'))
assert total == json.load(open('$work/w.json'))['at']['pinned']
assert any(line.split(' ')[0].endswith('main;give_to_device') for line in open('$work/w.folded'))"
expect "speedscope: indices in range, weights that add up" python3 -c "
import json
d = json.load(open('$work/w.speedscope')); p = d['profiles'][0]; n = len(d['shared']['frames'])
assert d['\$schema'].endswith('file-format-schema.json') and p['type'] == 'sampled' and p['unit'] == 'bytes'
assert len(p['samples']) == len(p['weights']) and sum(p['weights']) == p['endValue'] > 0
assert all(0 <= i < n for s in p['samples'] for i in s) and all('name' in f for f in d['shared']['frames'])"
expect "chrome: counter and complete events with times" python3 -c "
import json
events = json.load(open('$work/w.chrome'))['traceEvents']
assert max(sum(e['args'].values()) for e in events if e['ph'] == 'C') == json.load(open('$work/w.json'))['peak']['bytes']
assert all('pid' in e and 'name' in e and (e['ph'] == 'M' or e['ts'] >= 0) for e in events)
assert all(e['dur'] >= 0 for e in events if e['ph'] == 'X')"

cat >"$work/profile.proto" <<'PROTO'
syntax = "proto3";
message Profile {
  repeated ValueType sample_type = 1;
  repeated Sample sample = 2;
  repeated Mapping mapping = 3;
  repeated Location location = 4;
  repeated Function function = 5;
  repeated string string_table = 6;
  int64 drop_frames = 7;
  int64 keep_frames = 8;
  int64 time_nanos = 9;
  int64 duration_nanos = 10;
  ValueType period_type = 11;
  int64 period = 12;
  repeated int64 comment = 13;
  int64 default_sample_type = 14;
}
message ValueType { int64 type = 1; int64 unit = 2; }
message Sample { repeated uint64 location_id = 1; repeated int64 value = 2; repeated Label label = 3; }
message Label { int64 key = 1; int64 str = 2; int64 num = 3; int64 num_unit = 4; }
message Mapping { uint64 id = 1; uint64 memory_start = 2; uint64 memory_limit = 3; uint64 file_offset = 4; int64 filename = 5; int64 build_id = 6; }
message Location { uint64 id = 1; uint64 mapping_id = 2; uint64 address = 3; repeated Line line = 4; bool is_folded = 5; }
message Line { uint64 function_id = 1; int64 line = 2; int64 column = 3; }
message Function { uint64 id = 1; int64 name = 2; int64 system_name = 3; int64 filename = 4; int64 start_line = 5; }
PROTO
if command -v protoc >/dev/null; then
    gzip -dc <"$work/w.pprof" | protoc -I"$work" --decode=Profile "$work/profile.proto" >"$work/w.pprof.txt"
    expect "pprof: protoc reads it, and knows every field" bash -c "[ -s '$work/w.pprof.txt' ] && ! grep -E '^ *[0-9]+:' '$work/w.pprof.txt'"
    expect "pprof: its sample types and functions" bash -c "
        for s in pinned_objects pinned_space peak_pinned map_calls give_to_device; do grep -q \"\\\"\$s\\\"\" '$work/w.pprof.txt' || exit 1; done"
else
    echo "protoc is not installed: pprof's fields are not checked by it"
fi
expect "pprof: gzip with the sum of the report" python3 -c "
import gzip, json
data = gzip.open('$work/w.pprof').read()
def varint(b, i):
    v = s = 0
    while True:
        v |= (b[i] & 127) << s; s += 7; i += 1
        if b[i - 1] < 128: return v, i
def fields(b):
    i = 0
    while i < len(b):
        tag, i = varint(b, i)
        if tag & 7 == 0: v, i = varint(b, i)
        else:
            assert tag & 7 == 2; n, i = varint(b, i); v = b[i:i + n]; i += n
        yield tag >> 3, v
total = 0
for number, value in fields(data):
    if number == 2:
        packed = dict(fields(value))[2]; i = 0; values = []
        while i < len(packed): v, i = varint(packed, i); values.append(v)
        assert len(values) == 4; total += values[1]
assert total == json.load(open('$work/w.json'))['at']['pinned']"
if /usr/bin/python3 -c 'import prometheus_client' 2>/dev/null; then
    expect "openmetrics: the Prometheus client's parser reads it" /usr/bin/python3 -c "
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = {f.name: f for f in parse(open('$work/w.openmetrics').read())}
assert families['anydma_pinned_bytes'].samples[0].value > 0 and families['anydma_call_seconds'].type == 'histogram'"
else
    expect "openmetrics: ends as it must" bash -c "[ \"\$(tail -n 1 '$work/w.openmetrics')\" = '# EOF' ]"
fi
exit "$failures"
