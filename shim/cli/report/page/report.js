// SPDX-License-Identifier: MIT
// The report's page: a timeline, an icicle of the call sites at the moment chosen in it, and tables. Runs from a file.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byId = id => document.getElementById(id);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function size(bytes) {
  if (bytes === null || bytes === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < 4) { bytes /= 1024; unit++; }
  return (bytes < 100 && bytes !== Math.floor(bytes) ? bytes.toFixed(1) : Math.round(bytes)) + ' ' + units[unit];
}
function time(ns) {
  if (ns < 1e3) return ns + ' ns';
  if (ns < 1e6) return (ns / 1e3).toFixed(1) + ' µs';
  if (ns < 1e9) return (ns / 1e6).toFixed(1) + ' ms';
  return (ns / 1e9).toFixed(2) + ' s';
}
const place = frame => frame.function + (frame.file ? '  ' + frame.file.replace(/.*\//, '') + ':' + frame.line : '');
const percent = (part, whole) => whole ? Math.round(100 * part / whole) + '%' : '–';

// --- the head
byId('title').textContent = data.process.command || data.process.executable;
byId('subtitle').textContent = 'process ' + data.process.pid + ', ' + time(data.duration_ns) + ', anydma ' + data.process.anydma +
  (data.devices.length ? ', devices ' + data.devices.join(', ') : '');
if (data.notes) byId('notes').textContent = 'Note: ' + data.notes;
function card(title, value, more) {
  const element = document.createElement('div');
  element.className = 'card';
  const name = document.createElement('span'), big = document.createElement('b'), small = document.createElement('span');
  name.textContent = title; big.textContent = value; small.textContent = more || '';
  element.append(name, big, small);
  byId('cards').append(element);
}
const limit = data.process.memlock_limit;
card('peak', size(data.peak.bytes), 'at ' + time(data.peak.time_ns));
card('limit', limit === null ? 'none' : size(limit), limit === null ? 'memlock' : size(Math.max(0, limit - data.peak.bytes)) + ' left at the peak');
card('waste', data.at.used_known_of ? size(data.at.waste) : '–', percent(data.at.waste, data.at.used_known_of) + ' of what is known');
card('huge pages', percent(data.at.huge, data.at.huge_known_of), size(data.at.huge));
card('map calls', data.calls.map.count + data.calls.app_map.count, 'half within ' + time(data.calls.map.p50_ns || data.calls.app_map.p50_ns));
card('failures', data.failures + data.refused, data.refused + ' of them lookups');
card('hazards', data.hazards_seen, '');
for (const c of data.containers)
  card('mappings, ' + c.backend, c.mappings_peak, c.mappings_limit === null ? 'no limit' : 'of ' + c.mappings_limit);

// --- the icicle
const rows = data.sites.map((site, index) => ({ site, index, path: (site.label ? ['[' + site.label + ']'] : []).concat(
  site.stack.length ? site.stack.map(f => f).reverse() : ['(no call stack)']) }));
let step = -1, focus = null;

function bytesOf(row) {
  if (step < 0) return row.site.pinned + row.site.app_pinned;
  const changes = data.steps.rows[row.index];
  let bytes = 0;
  for (let i = 0; i < changes.length && changes[i] <= step; i += 2) bytes = changes[i + 1][0] + (changes[i + 1][1] || 0);
  return bytes;
}
function buildTree() {
  const root = { name: 'all', bytes: 0, children: new Map(), title: 'all' };
  for (const row of rows) {
    const bytes = bytesOf(row);
    if (!bytes) continue;
    let node = root;
    node.bytes += bytes;
    for (const frame of row.path) {
      const name = typeof frame === 'string' ? frame : frame.function;
      if (!node.children.has(name))
        node.children.set(name, { name, bytes: 0, children: new Map(), title: typeof frame === 'string' ? frame : place(frame) });
      node = node.children.get(name);
      node.bytes += bytes;
    }
  }
  return root;
}
function color(name) {
  let hash = 0;
  for (const c of name) hash = (hash * 31 + c.charCodeAt(0)) | 0;
  return 'hsl(' + (20 + Math.abs(hash) % 190) + ' 62% 68%)';
}
function draw() {
  const svg = byId('icicle'), width = svg.clientWidth || 1000, height = 20, root = buildTree();
  let node = root, deepest = 0;
  const lead = [];
  for (const name of focus || []) {
    lead.push(node);
    if (!node.children.has(name)) { focus = null; return draw(); }
    node = node.children.get(name);
  }
  svg.replaceChildren();
  function box(item, x, y, w, path) {
    deepest = Math.max(deepest, y);
    const rect = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    for (const [key, value] of Object.entries({ x, y: y * height, width: Math.max(w, 0.5), height, fill: path.length ? color(item.name) : '#b9c0ca' }))
      rect.setAttribute(key, value);
    rect.addEventListener('mouseenter', () => {
      byId('detail').textContent = item.title + ': ' + size(item.bytes) + ' (' + percent(item.bytes, root.bytes) + ')';
    });
    rect.addEventListener('click', () => { focus = path; draw(); });
    svg.append(rect);
    if (w > 40) {
      const text = document.createElementNS('http://www.w3.org/2000/svg', 'text');
      text.setAttribute('x', x + 4);
      text.setAttribute('y', y * height + 14);
      text.textContent = item.name.length > w / 6.5 ? item.name.slice(0, Math.floor(w / 6.5)) + '…' : item.name;
      svg.append(text);
    }
  }
  function walk(item, x, y, w, path) {
    box(item, x, y, w, path);
    let at = x;
    for (const child of [...item.children.values()].sort((a, b) => b.bytes - a.bytes)) {
      const part = w * child.bytes / item.bytes;
      if (part >= 0.5) walk(child, at, y + 1, part, path.concat(child.name));
      at += part;
    }
  }
  lead.forEach((item, depth) => box(item, 0, depth, width, (focus || []).slice(0, depth)));
  if (node.bytes) walk(node, 0, lead.length, width, focus || []);
  svg.setAttribute('height', (deepest + 1) * height);
  svg.setAttribute('viewBox', '0 0 ' + width + ' ' + (deepest + 1) * height);
  const when = step < 0 ? data.at.time_ns : step * data.steps.every_ns;
  byId('moment').textContent = time(Math.round(when)) + ': ' + size(root.bytes);
}

// --- the timeline
function niceStep() {
  const most = Math.max(data.peak.bytes, limit !== null && limit < 4 * data.peak.bytes ? limit : 0, 1);
  return 2 ** Math.max(0, Math.ceil(Math.log2(most / 8)));
}
let chart = null;
function drawTimeline() {
  const points = data.timeline.length ? data.timeline : [[0, 0, 0]];
  const last = points[points.length - 1];
  const all = points.concat([[Math.max(data.duration_ns, last[0]), last[1], last[2]]]);
  const line = (label, index, name) => ({ label, data: all.map(p => ({ x: p[0] / 1e6, y: p[index] })), stepped: true, fill: index === 1 ? 'origin' : '-1',
    borderColor: css(name), backgroundColor: css(name) + '44', borderWidth: 1.5, pointRadius: 0, stack: 'bytes' });
  const datasets = [line('anydma', 1, '--ours'), line('the application', 2, '--app')];
  if (limit !== null && limit < 1000 * data.peak.bytes) // else it would be all that one sees
    datasets.push({ label: 'memlock limit', data: [{ x: 0, y: limit }, { x: all[all.length - 1][0] / 1e6, y: limit }], borderColor: css('--limit'),
      borderDash: [6, 4], borderWidth: 1.5, pointRadius: 0, stack: 'limit', fill: false });
  if (chart) chart.destroy();
  Chart.defaults.color = css('--dim');
  Chart.defaults.borderColor = css('--line');
  chart = new Chart(byId('timeline'), { type: 'line', data: { datasets }, options: {
    animation: false, responsive: true, maintainAspectRatio: false, parsing: false, interaction: { mode: 'nearest', axis: 'x', intersect: false },
    scales: { x: { type: 'linear', min: 0, max: all[all.length - 1][0] / 1e6 || 1, ticks: { callback: value => time(Math.round(value * 1e6)) } },
      y: { stacked: true, beginAtZero: true, ticks: { callback: size, stepSize: niceStep() } } },
    plugins: { tooltip: { callbacks: { title: items => time(Math.round(items[0].parsed.x * 1e6)), label: item => item.dataset.label + ': ' + size(item.parsed.y) } } },
    onClick: (event, active, self) => chooseMoment(self.scales.x.getValueForPixel(event.x) * 1e6) } });
}
function chooseMoment(ns) {
  if (!data.steps.every_ns) return;
  step = Math.max(0, Math.min(data.steps.count - 1, Math.round(ns / data.steps.every_ns)));
  draw();
}

// --- the tables
function table(element, columns, items) {
  let sorted = -1, down = true;
  function fill() {
    const list = sorted < 0 ? items : [...items].sort((a, b) => {
      const x = columns[sorted].value(a), y = columns[sorted].value(b);
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
    const head = document.createElement('tr'), lines = [];
    columns.forEach((column, index) => {
      const th = document.createElement('th');
      th.textContent = column.name;
      if (column.text) th.className = 'text';
      th.addEventListener('click', () => { down = sorted === index ? !down : true; sorted = index; fill(); });
      head.append(th);
    });
    for (const item of list.slice(0, 2000)) {
      const tr = document.createElement('tr');
      for (const column of columns) {
        const td = document.createElement('td');
        if (column.text) td.className = 'text';
        td.textContent = (column.show || String)(column.value(item));
        tr.append(td);
      }
      lines.push(tr);
    }
    element.replaceChildren(head, ...lines);
    if (!items.length) element.textContent = 'none';
  }
  fill();
}
const stackText = stack => stack.length ? stack.map(place).join(' ← ') : '(no call stack)';
function drawSites() {
  const wanted = byId('filter').value;
  table(byId('sites'), [
    { name: 'pinned', value: s => s.pinned + s.app_pinned, show: size }, { name: 'waste', value: s => s.used_known_of ? s.waste : null, show: size },
    { name: 'huge', value: s => s.huge_known_of ? s.huge / s.huge_known_of : -1, show: v => v < 0 ? '–' : percent(v, 1) },
    { name: 'own peak', value: s => s.peak, show: size }, { name: 'maps', value: s => s.maps + s.app_maps },
    { name: 'failures', value: s => s.failures + s.refused },
    { name: 'call site', text: true, value: s => (s.label ? '[' + s.label + '] ' : '') + stackText(s.stack) }],
  data.sites.filter(s => !wanted || JSON.stringify(s).includes(wanted)));
}
byId('filter').addEventListener('input', drawSites);
table(byId('calls'), [{ name: 'call', text: true, value: c => c.name }, { name: 'count', value: c => c.count }, { name: 'half within', value: c => c.p50_ns, show: time },
  { name: '99% within', value: c => c.p99_ns, show: time }, { name: 'longest', value: c => c.longest_ns, show: time }, { name: 'total', value: c => c.total_ns, show: time }],
Object.entries(data.calls).map(([name, c]) => ({ name: name.replace('app_', "the application's own "), ...c })).filter(c => c.count));
table(byId('hazards'), [{ name: 'time', value: h => h.time_ns, show: time }, { name: 'bytes', value: h => h.bytes, show: size }, { name: 'address', value: h => h.address },
  { name: 'what', text: true, value: h => h.kind }, { name: 'by', text: true, value: h => stackText(h.by) }, { name: 'held by', text: true, value: h => stackText(h.held_by) }], data.hazards);
byId('moment2').textContent = time(data.at.time_ns) + ': ' + data.mappings.length;
table(byId('mappings'), [{ name: 'address', value: m => m.address }, { name: 'bytes', value: m => m.bytes, show: size }, { name: 'IOVA', value: m => m.iova },
  { name: 'in use', value: m => m.used, show: size }, { name: 'huge', value: m => m.huge, show: size }, { name: 'made at', value: m => m.made_ns, show: time },
  { name: 'by', text: true, value: m => m.owner }], data.mappings);

byId('theme').addEventListener('click', () => {
  const root = document.documentElement, dark = matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = (root.dataset.theme || (dark ? 'dark' : 'light')) === 'dark' ? 'light' : 'dark';
  drawTimeline();
});
addEventListener('resize', draw);
drawSites();
drawTimeline();
draw();
