// SPDX-License-Identifier: MIT
// The page of a comparison: figures before and after, both timelines, call sites by their change.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byId = id => document.getElementById(id);
const make = (tag, props, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };
function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (Math.abs(bytes) >= 1024 && unit < 5) { bytes /= 1024; unit++; }
  return (unit && Math.abs(bytes) < 100 && bytes !== Math.floor(bytes) ? bytes.toFixed(1) : Math.round(bytes)) + ' ' + units[unit];
}
const time = ns => ns < 1e6 ? (ns / 1e3).toFixed(1) + ' µs' : ns < 1e9 ? (ns / 1e6).toFixed(1) + ' ms' : (ns / 1e9).toFixed(2) + ' s';
const change = (by, show) => make('span', { className: by > 0 ? 'more' : by < 0 ? 'less' : '', textContent: by ? (by > 0 ? '+' : '−') + show(Math.abs(by)) : '=' });
const place = frame => frame.function + (frame.file ? '  ' + frame.file.replace(/.*\//, '') + ':' + frame.line : '');

byId('title').textContent = data.after.command;
byId('subtitle').textContent = data.names[0] + ' → ' + data.names[1] + (data.before.command === data.after.command ? '' : ' (before: ' + data.before.command + ')');
byId('cards').append(...data.figures.map(f => make('div', { className: 'card' }, make('span', { textContent: f.name }),
  make('b', {}, change(f.after - f.before, f.is_bytes ? size : String)),
  make('span', { textContent: (f.is_bytes ? size : String)(f.before) + ' → ' + (f.is_bytes ? size : String)(f.after) }))));

function drawTimeline() {
  const svg = d3.select('#timeline'), width = byId('timeline').clientWidth || 800, height = 220;
  const end = Math.max(data.before.duration_ns, data.after.duration_ns, 1), most = Math.max(data.before.peak, data.after.peak, 1);
  const x = d3.scaleLinear().domain([0, end]).range([62, width - 28]), y = d3.scaleLinear().domain([0, most * 1.04]).range([height - 24, 8]);
  svg.attr('viewBox', '0 0 ' + width + ' ' + height).attr('height', height).selectAll('*').remove();
  for (const side of ['before', 'after']) {
    const points = data[side].timeline;
    const all = points.concat(points.length ? [[data[side].duration_ns, ...points[points.length - 1].slice(1)]] : []);
    svg.append('path').attr('class', side).attr('d', d3.line().x(p => x(p[0])).y(p => y(p[1] + p[2])).curve(d3.curveStepAfter)(all));
  }
  svg.append('g').attr('class', 'axis').attr('transform', 'translate(0,' + (height - 24) + ')').call(d3.axisBottom(x).ticks(width / 110).tickFormat(time));
  svg.append('g').attr('class', 'axis').attr('transform', 'translate(62,0)')
    .call(d3.axisLeft(y).tickValues(d3.range(0, most * 1.04, 2 ** Math.max(0, Math.ceil(Math.log2(most / 5))))).tickFormat(size));
}
function drawSites() {
  const wanted = byId('filter').value.trim().toLowerCase();
  const sites = data.sites.filter(s => !wanted || (s.label + ' ' + s.stack.map(place).join(' ')).toLowerCase().includes(wanted));
  const x = d3.scaleLinear().domain([0, d3.max(data.sites, s => Math.abs(s.after - s.before)) || 1]).range([0, 100]);
  byId('filtered').textContent = sites.length + ' of ' + data.sites.length + ' call sites';
  byId('sites').dataset.before = d3.sum(sites, s => s.before);
  byId('sites').dataset.after = d3.sum(sites, s => s.after);
  byId('sites').replaceChildren(make('thead', {}, make('tr', {}, ...['change', 'before', 'after', '', 'call site'].map((name, i) => make('th', { textContent: name, scope: 'col', className: i === 4 ? 'text' : '' })))),
    make('tbody', {}, ...sites.slice(0, 500).map(s => {
      const by = s.after - s.before, name = (s.label ? '[' + s.label + '] ' : '') + (s.stack.length ? place(s.stack[0]) : '(no call stack)');
      return make('tr', {}, make('td', {}, change(by, size)), make('td', { textContent: s.is_new ? 'new' : size(s.before) }), make('td', { textContent: s.is_gone ? 'gone' : size(s.after) }),
        make('td', { className: 'bar' }, make('i', { style: 'width:' + x(Math.abs(by)) + '%;background:var(--' + (by > 0 ? 'more' : 'less') + ')' })),
        make('td', { className: 'text' }, s.stack.length < 2 ? name : make('details', {}, make('summary', { textContent: name }),
          make('ol', {}, ...s.stack.map(f => make('li', { textContent: place(f) }))))));
    })));
}
byId('filter').addEventListener('input', drawSites);
addEventListener('resize', drawTimeline);
drawTimeline();
drawSites();
