// SPDX-License-Identifier: MIT
// The report's page. One moment is chosen, by a click, a key or a button, and everything shows it: cards, stacks, tables, mappings.
// D3 lays out and draws; the numbers are the report's, and for other moments those of data.steps. Runs from a file.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byId = id => document.getElementById(id);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const make = (tag, props, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };

function size(bytes) {
  if (bytes === null || bytes === undefined || bytes < 0) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < 5) { bytes /= 1024; unit++; }
  return (unit && bytes < 100 && bytes !== Math.floor(bytes) ? bytes.toFixed(1) : Math.round(bytes)) + ' ' + units[unit];
}
function time(ns) {
  if (ns < 1e3) return Math.round(ns) + ' ns';
  if (ns < 1e6) return (ns / 1e3).toFixed(1) + ' µs';
  if (ns < 1e9) return (ns / 1e6).toFixed(1) + ' ms';
  return (ns / 1e9).toFixed(2) + ' s';
}
const percent = (part, whole) => whole ? Math.floor(100 * part / whole + 0.5) + '%' : '–';
const place = frame => frame.function + (frame.file ? '  ' + frame.file.replace(/.*\//, '') + ':' + frame.line : '');

// --- the moment: -1 is the report's own, others are steps
let step = -1;
const nrSteps = data.steps.count, fields = data.steps.fields;
const zero = Object.fromEntries(fields.map(f => [f, 0]));
const amount = numbers => { const a = Object.assign({}, zero); numbers.forEach((n, i) => { a[fields[i]] = n; }); return a; };
const ofReport = a => ({ ...zero, ...a, free: a.waste_kinds.free_in_heap, rounded: a.waste_kinds.rounded_up, untouched: a.waste_kinds.never_touched,
  unasked: a.waste_kinds.never_looked_up, untold: a.waste_kinds.not_told || 0 });
const waste = a => a.free + a.rounded + a.untouched + a.unasked + a.untold;
const pinned = a => a.pinned + a.app_pinned;
const timeOf = s => s < 0 ? data.at.time_ns : s * data.steps.every_ns;
const totalAt = s => s < 0 ? { ...ofReport(data.at), shared: data.at.unattributed === undefined ? 0 : data.at.pinned - data.at.unattributed } : amount(data.steps.totals[s]);
function rowAt(row, s) {
  if (s < 0) return ofReport(data.sites[row]);
  const changes = data.steps.rows[row];
  let low = 0, high = changes.length / 2;
  while (low < high) { const middle = (low + high) >> 1; if (changes[2 * middle] <= s) low = middle + 1; else high = middle; }
  return low ? amount(changes[2 * low - 1]) : zero;
}

// --- call sites as a person knows them: folded to the first function of the program's own
const exe = data.process.executable;
const rows = data.sites.map((site, index) => {
  const own = Math.max(0, site.stack.findIndex(f => f.module === exe && f.function !== '_start'));
  const text = ((site.label ? '[' + site.label + '] ' : '') + (site.threads || []).join(' ') + ' ' +
    site.stack.map(f => f.function + ' ' + (f.file || '') + ' ' + (f.module || '')).join(' ')).toLowerCase();
  return { site, index, own, text, name: (site.label ? '[' + site.label + '] ' : '') + (site.stack.length ? place(site.stack[own]) : '(no call stack)') };
});
let hue = 210;
const hues = new Map();
function color(name) {
  if (!hues.has(name)) { hues.set(name, hue); hue = (hue + 137) % 360; }
  return 'hsl(' + hues.get(name) + ' 55% ' + css('--l') + ')';
}

// --- the head
const program = (data.process.command || exe).split(' ')[0].replace(/.*\//, '');
byId('title').textContent = byId('title').title = data.process.command || exe;
byId('subtitle').textContent = program + ', process ' + data.process.pid + ', ' + time(data.duration_ns) + ', anydma ' + data.process.anydma +
  (data.devices.length ? ', devices ' + data.devices.join(', ') : '');
byId('notes').textContent = [data.notes && 'Note: ' + data.notes, data.nothing_because].filter(Boolean).join('; ');
const limit = data.process.memlock_limit;
function drawCards() {
  const a = totalAt(step), cards = [];
  const card = (title, value, more, bad) => cards.push(make('div', { className: bad ? 'card bad' : 'card' }, make('span', { textContent: title }),
    make('b', { textContent: value }), make('span', { textContent: more || '' })));
  const kinds = [['rounded', 'rounded up'], ['free', 'free in the heap'], ['untouched', 'never touched'], ['unasked', 'never looked up'], ['untold', 'in nothing alive']];
  card('pinned', size(pinned(a)), a.app_pinned ? size(a.pinned) + ' by anydma, ' + size(a.app_pinned) + ' the application’s own' : 'by anydma');
  card('waste', a.used_known_of ? size(waste(a)) : '–', a.used_known_of ? percent(waste(a), a.used_known_of) + ': ' +
    kinds.filter(k => a[k[0]]).map(k => size(a[k[0]]) + ' ' + k[1]).join(', ') : 'anydma has nothing pinned here');
  card('mappings', a.mappings, data.containers.map(c => c.backend + ': ' + c.mappings_peak + (c.mappings_limit === null ? '' : ' of ' + c.mappings_limit) + ' at most').join(', '));
  card('huge pages', percent(a.huge, a.huge_known_of), size(a.huge));
  card('peak', size(data.peak.bytes), 'at ' + time(data.peak.time_ns));
  card('memlock limit', limit === null ? 'none' : size(limit), limit === null ? '' : size(Math.max(0, limit - data.peak.bytes)) + ' left at the peak', limit !== null && limit < data.peak.bytes);
  if (data.simulated_maps) card('simulated', data.simulated_refused ? data.simulated_refused + ' of ' + data.simulated_maps : 'no refusals',
    data.simulated_refused ? 'maps VFIO would have refused: memlock ' + size(limit) : 'with VFIO, too, for this user', data.simulated_refused > 0);
  card('map calls', data.calls.map.count + data.calls.app_map.count, 'half within ' + time(data.calls.map.p50_ns || data.calls.app_map.p50_ns));
  card('failures', data.failures + data.refused, data.failed.slice(0, 2).map(f => f.count + '× ' + f.error).join(', '), data.failures + data.refused > 0);
  card('hazards', data.hazards_seen, '', data.hazards_seen > 0);
  if (data.forks) card('forks', data.forks, size(data.fork_bytes) + ' copied');
  byId('cards').replaceChildren(...cards);
}
const withCode = text => text.split('`').map((part, i) => i % 2 ? make('code', { textContent: part }) : part);
if ((data.advice || []).length)
  byId('advice').append(make('h2', { textContent: 'What would help most' }), make('ul', {}, ...data.advice.map(a => make('li', {}, ...withCode(a.text)))));

// --- the timeline: stacked by call site
const margin = { left: 62, right: 28, top: 8, bottom: 24 }, chartHeight = 250;
let scale = null, zoomed = [0, data.duration_ns || 1];
const top6 = rows.map(r => r.index).sort((a, b) => data.sites[b].peak - data.sites[a].peak).filter(i => data.sites[i].peak).slice(0, 6);
const stepTimes = d3.range(nrSteps).map(timeOf);
const series = top6.map(index => ({ name: rows[index].name, color: 'site ' + index, bytes: d3.range(nrSteps).map(s => pinned(rowAt(index, s))) }));
series.push({ name: 'others', color: null, bytes: d3.range(nrSteps).map(s => Math.max(0, pinned(totalAt(s)) - d3.sum(series, one => one.bytes[s]))) });
const wasted = d3.range(nrSteps).map(s => waste(totalAt(s)));
function drawTimeline() {
  const svg = d3.select('#timeline'), width = byId('timeline').clientWidth || 800;
  const most = Math.max(data.peak.bytes, 1), shown = limit !== null && limit < 4 * most ? Math.max(most, limit) : most;
  const x = d3.scaleLinear().domain(zoomed).range([margin.left, width - margin.right]);
  const unit = 2 ** Math.max(0, Math.ceil(Math.log2(shown / 6)));
  const y = d3.scaleLinear().domain([0, shown * 1.04]).range([chartHeight - margin.bottom, margin.top]);
  scale = x;
  svg.attr('viewBox', '0 0 ' + width + ' ' + chartHeight).attr('height', chartHeight).selectAll('*').remove();
  svg.append('clipPath').attr('id', 'inside').append('rect').attr('x', margin.left).attr('width', width - margin.left - margin.right).attr('height', chartHeight);
  const inside = svg.append('g').attr('clip-path', 'url(#inside)');
  const stack = d3.stack().keys(d3.range(series.length)).value((s, key) => series[key].bytes[s])(d3.range(nrSteps));
  const area = d3.area().x((d, i) => x(stepTimes[i])).y0(d => y(d[0])).y1(d => y(d[1])).curve(d3.curveStepAfter);
  inside.selectAll('.layer').data(stack).join('path').attr('class', 'layer').attr('d', area)
    .attr('fill', (d, i) => series[i].color ? color(series[i].color) : css('--rest')).append('title').text((d, i) => series[i].name);
  const points = data.timeline.concat(data.timeline.length ? [[data.duration_ns, ...data.timeline[data.timeline.length - 1].slice(1)]] : []);
  inside.append('path').attr('class', 'total').attr('d', d3.line().x(p => x(p[0])).y(p => y(p[1] + p[2])).curve(d3.curveStepAfter)(points));
  inside.append('path').attr('class', 'wasted').attr('d', d3.area().x((d, i) => x(stepTimes[i])).y0(y(0)).y1(d => y(d)).curve(d3.curveStepAfter)(wasted));
  if (limit !== null && limit <= shown * 1.04)
    inside.append('line').attr('class', 'limit').attr('x1', margin.left).attr('x2', width).attr('y1', y(limit)).attr('y2', y(limit));
  inside.append('line').attr('class', 'marker').attr('y1', margin.top).attr('y2', chartHeight - margin.bottom).attr('x1', x(timeOf(step))).attr('x2', x(timeOf(step)));
  svg.append('g').attr('class', 'axis').attr('transform', 'translate(0,' + (chartHeight - margin.bottom) + ')').call(d3.axisBottom(x).ticks(width / 110).tickFormat(time));
  svg.append('g').attr('class', 'axis').attr('transform', 'translate(' + margin.left + ',0)').call(d3.axisLeft(y).tickValues(d3.range(0, shown * 1.04, unit)).tickFormat(size));
  svg.call(d3.drag().container(byId('timeline')).on('start drag', () => choose(nearest(d3.event.x))));
  svg.attr('aria-valuemin', 0).attr('aria-valuemax', nrSteps - 1).attr('aria-valuenow', step < 0 ? Math.round(timeOf(step) / data.steps.every_ns) : step)
    .attr('aria-valuetext', byId('when').textContent);
}
const nearest = pixel => Math.max(0, Math.min(nrSteps - 1, Math.round(scale.invert(pixel) / data.steps.every_ns)));
function zoom(factor) {
  const middle = timeOf(step), span = Math.min(data.duration_ns || 1, (zoomed[1] - zoomed[0]) * factor);
  const start = Math.max(0, Math.min((data.duration_ns || 1) - span, middle - span / 2));
  zoomed = [start, start + span];
  drawTimeline();
}
function drawLegend() {
  const item = (background, name) => make('span', {}, make('i', { style: 'background:' + background }), name);
  byId('legend').replaceChildren(...series.filter(one => d3.max(one.bytes) > 0).map(one => item(one.color ? color(one.color) : css('--rest'), one.name)),
    item('var(--waste)', 'waste'), ...(limit === null ? [] : [item('var(--bad)', 'memlock limit')]));
}

// --- the icicle: d3's partition of the stacks
const metrics = [['pinned', 'pinned', a => pinned(a)], ['waste', 'waste', waste], ['own', 'the application’s own', a => a.app_pinned]];
if (data.process.sample_mean) metrics.push(['live', 'for live objects (sampled)', a => a.shared]);
byId('metric').replaceChildren(...metrics.map(m => make('option', { value: m[0], textContent: m[1] })));
let focus = [];
function treeOf() {
  const value = metrics.find(m => m[0] === byId('metric').value)[2], root = { name: 'all', title: 'all', own: 0, children: new Map() };
  for (const row of rows) {
    const a = rowAt(row.index, step), bytes = value(step < 0 ? { ...a, shared: row.site.shared } : a);
    if (!bytes) continue;
    const frames = row.site.stack.length ? row.site.stack : [{ function: '(no call stack)' }];
    const path = byId('inverted').checked ? frames.slice() : frames.slice().reverse();
    if (row.site.label) path.unshift({ function: '[' + row.site.label + ']' });
    let node = root;
    for (const frame of path) {
      if (!node.children.has(frame.function)) node.children.set(frame.function, { name: frame.function, title: place(frame), own: 0, children: new Map() });
      node = node.children.get(frame.function);
    }
    node.own += bytes;
  }
  return d3.hierarchy(root, node => [...node.children.values()]).sum(node => node.own).sort((a, b) => b.value - a.value);
}
function drawIcicle() {
  const height = 21, width = byId('icicle').clientWidth || 800, tree = treeOf();
  let top = tree;
  for (const name of focus) { const next = (top.children || []).find(n => n.data.name === name); if (!next) { focus = []; top = tree; break; } top = next; }
  d3.partition().size([1, tree.height + 1])(tree);
  const x = d3.scaleLinear().domain([top.x0, top.x1]).range([0, width]), wanted = byId('search').value.trim().toLowerCase();
  const nodes = tree.value ? tree.descendants().filter(n => n.x0 >= top.x0 - 1e-12 && n.x1 <= top.x1 + 1e-12 || top.ancestors().includes(n))
    .filter(n => (n.x1 - n.x0) / (top.x1 - top.x0) * width >= 0.7) : [];
  const deep = (d3.max(nodes, n => n.depth) || 0) + 1;
  const hit = n => wanted && n.depth && n.data.name.toLowerCase().includes(wanted);
  const isOuter = n => n.ancestors().slice(1).some(hit);
  const svg = d3.select('#icicle').attr('viewBox', '0 0 ' + width + ' ' + deep * height).attr('height', deep * height);
  const left = n => Math.max(0, x(n.x0)), wide = n => Math.max(0.7, Math.min(width, x(n.x1)) - left(n));
  const group = svg.selectAll('g').data(nodes, n => n.ancestors().map(a => a.data.name).join(';')).join('g').attr('tabindex', 0).attr('role', 'button')
    .attr('transform', n => 'translate(' + left(n) + ',' + n.depth * height + ')').classed('hit', hit).classed('miss', n => wanted && !hit(n))
    .attr('aria-label', n => n.data.title + ', ' + size(n.value) + ', ' + percent(n.value, tree.value));
  group.selectAll('*').remove();
  group.append('rect').attr('width', wide).attr('height', height).attr('fill', n => n.depth ? color(n.data.name) : css('--rest'));
  group.filter(n => wide(n) > 34).append('text').attr('x', 4).attr('y', 14)
    .text(n => n.data.name.length > wide(n) / 6.3 ? n.data.name.slice(0, Math.max(1, Math.floor(wide(n) / 6.3) - 1)) + '…' : n.data.name);
  const tell = n => { byId('detail').textContent = n.data.title + ': ' + size(n.value) + ' (' + percent(n.value, tree.value) + ')'; };
  const look = n => { focus = n.ancestors().reverse().slice(1).map(a => a.data.name); drawIcicle(); tell(n); };
  group.on('mouseenter', tell).on('focus', tell).on('click', look).on('keydown', n => { if (d3.event.key === 'Enter' || d3.event.key === ' ') { d3.event.preventDefault(); look(n); } });
  byId('icicle').dataset.total = tree.value || 0;
  if (!tree.value) byId('detail').textContent = 'Nothing of that kind at this moment.';
  const bytes = wanted ? d3.sum(tree.descendants().filter(n => hit(n) && !isOuter(n)), n => n.value) : 0;
  byId('found').textContent = wanted ? size(bytes) + ' (' + percent(bytes, tree.value) + ')' : '';
}

// --- the tables
const sortings = {};
function table(id, columns, items, most, foot) {
  const sorting = sortings[id] = sortings[id] || { column: -1, down: true }, element = byId(id);
  const list = sorting.column < 0 ? items : [...items].sort((a, b) => {
    const x = columns[sorting.column].value(a), y = columns[sorting.column].value(b);
    return (x < y ? -1 : x > y ? 1 : 0) * (sorting.down ? -1 : 1);
  });
  const head = make('tr', {}, ...columns.map((column, index) => {
    const is = sorting.column === index, th = make('th', { className: column.text ? 'text' : '', scope: 'col' });
    th.setAttribute('aria-sort', is ? sorting.down ? 'descending' : 'ascending' : 'none');
    th.append(make('button', { textContent: column.name + (is ? sorting.down ? ' ▾' : ' ▴' : ''),
      onclick: () => { sorting.down = is ? !sorting.down : !column.text; sorting.column = index; table(id, columns, items, most, foot); } }));
    return th;
  }));
  const body = list.slice(0, most).map(item => make('tr', {}, ...columns.map(column => {
    const td = make('td', { className: column.text ? 'text' : '' });
    td.append(column.cell ? column.cell(item) : (column.show || String)(column.value(item)));
    return td;
  })));
  element.replaceChildren(make('thead', {}, head), make('tbody', {}, ...(body.length ? body : [make('tr', {}, make('td', { className: 'text', colSpan: columns.length, textContent: 'none' }))])));
  if (foot) element.append(make('tfoot', {}, make('tr', {}, ...foot.map((text, i) => make('td', { className: columns[i].text ? 'text' : '', textContent: text })))));
}
function stackCell(name, stack) {
  if (stack.length < 2) return name;
  return make('details', {}, make('summary', { textContent: name }), make('ol', {}, ...stack.map(f => make('li', { textContent: place(f) + (f.inlined ? '  (inlined)' : '') }))));
}
function drawSites() {
  const wanted = byId('filter').value.trim().toLowerCase();
  const items = rows.filter(r => !wanted || r.text.includes(wanted)).map(r => ({ ...r, a: rowAt(r.index, step) }))
    .filter(r => pinned(r.a) || r.site.failures + r.site.refused || step < 0).sort((a, b) => pinned(b.a) - pinned(a.a));
  const total = d3.sum(items, r => pinned(r.a));
  byId('filtered').textContent = items.length + ' of ' + rows.length + ' call sites';
  table('sites', [
    { name: 'pinned', value: r => pinned(r.a), show: size }, { name: 'share', value: r => pinned(r.a), cell: r => percent(pinned(r.a), pinned(totalAt(step))) },
    { name: 'waste', value: r => r.a.used_known_of ? waste(r.a) : -1, show: size },
    ...(data.process.sample_mean ? [{ name: 'live in it', value: r => step < 0 ? r.site.shared : r.a.shared, show: size }] : []),
    { name: 'huge', value: r => r.a.huge_known_of ? r.a.huge / r.a.huge_known_of : -1, show: v => v < 0 ? '–' : percent(v, 1) },
    { name: 'mappings', value: r => r.a.mappings }, { name: 'own peak', value: r => r.site.peak, show: size }, { name: 'maps', value: r => r.site.maps + r.site.app_maps },
    { name: 'failures', value: r => r.site.failures + r.site.refused }, { name: 'thread', text: true, value: r => (r.site.threads || []).join(', ') },
    { name: 'call site', text: true, value: r => r.name, cell: r => stackCell(r.name, r.site.stack) }], items, 500,
  [size(total), percent(total, pinned(totalAt(step))), size(d3.sum(items, r => waste(r.a)))]);
  byId('sites').dataset.total = total;
}
if (data.failed.length) {
  byId('failures').append(make('h2', { className: 'bad', textContent: 'Failures' }), make('div', { className: 'scroll' }, make('table', { id: 'failed' })));
  table('failed', [{ name: 'times', value: f => f.count }, { name: 'call', text: true, value: f => f.call.replace('app_', 'the application’s own ') },
    { name: 'errno', text: true, value: f => f.error, cell: f => make('span', { className: 'bad', textContent: f.error }) }, { name: 'first', value: f => f.first_ns, show: time },
    { name: 'pinned then', value: f => f.pinned_then, show: size }, { name: 'why', text: true, value: f => f.reason + (f.remedy ? '; ' + f.remedy : '') },
    { name: 'where', text: true, value: f => f.stack.map(place)[0] || '', cell: f => stackCell(f.stack.length ? place(f.stack[0]) : '(no call stack)', f.stack) }], data.failed, 200);
}
table('calls', [{ name: 'call', text: true, value: c => c.name }, { name: 'count', value: c => c.count }, { name: 'half within', value: c => c.p50_ns, show: time },
  { name: '99% within', value: c => c.p99_ns, show: time }, { name: 'longest', value: c => c.longest_ns, show: time }, { name: 'total', value: c => c.total_ns, show: time }],
Object.entries(data.calls).map(([name, c]) => ({ name: name.replace('app_', 'the application’s own '), ...c })).filter(c => c.count), 10);
if (data.hazards_seen) {
  byId('hazards').append(make('h2', { className: 'bad', textContent: 'Hazards' }), make('div', { className: 'scroll' }, make('table', { id: 'hazarded' })));
  table('hazarded', [{ name: 'time', value: h => h.time_ns, show: time }, { name: 'bytes', value: h => h.bytes, show: size }, { name: 'address', value: h => h.address },
    { name: 'what', text: true, value: h => h.kind }, { name: 'by', text: true, value: h => h.by.map(place)[0] || '', cell: h => stackCell(h.by.map(place)[0] || '(no call stack)', h.by) },
    { name: 'held by', text: true, value: h => h.held_by.map(place)[0] || '', cell: h => stackCell(h.held_by.map(place)[0] || '(no call stack)', h.held_by) }], data.hazards, 500);
}
const spans = data.steps.mappings, addresses = [];
spans.address.reduce((last, gap, i) => (addresses[i] = last + gap), 0);
const hex = n => '0x' + n.toString(16);
function drawMappings() {
  const there = d3.range(addresses.length).filter(i => step < 0 ? spans.at_moment[i] : spans.first[i] <= step && step < spans.behind[i]);
  const total = d3.sum(there, i => spans.bytes[i]), most = 500;
  byId('mapped').textContent = there.length + ', ' + size(total) + (there.length > most ? '; the first ' + most + ' of the order chosen are shown' : '') +
    (spans.left_out ? '; ' + spans.left_out + ' more were too many to keep' : '');
  byId('mappings').dataset.total = total;
  byId('mappings').dataset.count = there.length;
  table('mappings', [{ name: 'address', value: i => addresses[i], show: hex }, { name: 'bytes', value: i => spans.bytes[i], show: size },
    { name: 'IOVA', value: i => addresses[i] + spans.iova_off[i], show: hex }, { name: 'in use (last told)', value: i => spans.used[i], show: size },
    { name: 'huge', value: i => spans.huge[i], show: size }, { name: 'made at', value: i => spans.made_us[i] * 1e3, show: time },
    { name: 'by', text: true, value: i => spans.is_app[i] ? 'the application' : 'anydma' }, { name: 'call site', text: true, value: i => rows[spans.row[i]].name }], there, most);
}

// --- one moment for all
function choose(s) {
  step = s < 0 ? -1 : Math.min(nrSteps - 1, s);
  const total = totalAt(step), isPeak = data.at.time_ns === data.peak.time_ns;
  byId('when').textContent = time(timeOf(step)) + ': ' + size(pinned(total)) + (step < 0 ? isPeak ? ', the peak' : ', the moment asked for' : '');
  byId('when').dataset.total = pinned(total);
  byId('when').dataset.waste = waste(total);
  byId('peak').textContent = isPeak ? 'peak' : 'moment asked for';
  byId('peak').setAttribute('aria-pressed', step < 0);
  drawCards();
  drawTimeline();
  drawIcicle();
  drawSites();
  drawMappings();
}
const move = by => choose(Math.max(0, (step < 0 ? Math.round(timeOf(-1) / data.steps.every_ns) : step) + by));
byId('back').onclick = () => move(-1);
byId('forth').onclick = () => move(1);
byId('peak').onclick = () => choose(-1);
byId('in').onclick = () => zoom(0.5);
byId('out').onclick = () => zoom(2);
byId('whole').onclick = () => { zoomed = [0, data.duration_ns || 1]; drawTimeline(); };
byId('timeline').addEventListener('wheel', event => { if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY < 0 ? 0.8 : 1.25); } }, { passive: false });
for (const id of ['metric', 'inverted', 'search']) byId(id).addEventListener('input', () => { if (id !== 'search') focus = []; drawIcicle(); });
byId('unzoom').onclick = () => { focus = []; byId('search').value = ''; drawIcicle(); };
byId('filter').addEventListener('input', drawSites);
addEventListener('keydown', event => {
  if (/INPUT|SELECT|TEXTAREA/.test(event.target.tagName) || event.ctrlKey || event.altKey || event.metaKey) return;
  const keys = { ArrowLeft: () => move(-1), ArrowRight: () => move(1), Home: () => choose(0), End: () => choose(nrSteps - 1), p: () => choose(-1), '+': () => zoom(0.5), '-': () => zoom(2),
    '/': () => byId('search').focus() };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});
byId('theme').onclick = () => {
  const root = document.documentElement, dark = matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = (root.dataset.theme || (dark ? 'dark' : 'light')) === 'dark' ? 'light' : 'dark';
  drawLegend();
  choose(step);
};
addEventListener('resize', () => choose(step));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { drawLegend(); choose(step); });
drawLegend();
choose(-1);
