'use strict';
// --- Search as you type ---
const PAGES = 40;
let search = { q: '', groups: new Map(), cursor: null, done: true, error: null, shown: 30, control: null };
let typed = 0;

// The same content is one file, whatever its names; without a root, the same name and size.
const keyOf = h => (h.root ? 'r' + h.root : 'n' + h.size + '/' + h.name);

$('q').addEventListener('input', () => { clearTimeout(typed); typed = setTimeout(begin, 60); });
$('form').addEventListener('submit', event => { event.preventDefault(); clearTimeout(typed); begin(true); });

function begin(again) {
  const q = $('q').value.trim();
  if (q === search.q && again !== true) return;
  if (search.control) search.control.abort();
  history.replaceState(null, '', q ? '#q=' + encodeURIComponent(q) : location.pathname);
  const before = search.groups.size;
  search = { q, groups: new Map(), cursor: null, done: !q, error: null, shown: 30, control: new AbortController() };
  if (!q || !before) show();
  if (q) go(search);
}

// The server looks at so much for one answer: pages without a hit are followed at once, and pages with hits until the screen is full.
async function go(s) {
  try {
    for (let page = 0; page < PAGES; page++) {
      const cursor = s.cursor ? '&cursor=' + encodeURIComponent(s.cursor) : '';
      const answer = await ask('/api/search?q=' + encodeURIComponent(s.q) + cursor, s.control.signal);
      if (s !== search) return;
      for (const h of answer.holders) {
        const key = keyOf(h), group = s.groups.get(key);
        if (!group) s.groups.set(key, [h]);
        else if (!group.some(other => other.peer === h.peer && other.name === h.name)) group.push(h);
      }
      s.cursor = answer.cursor;
      if (answer.holders.length) show();
      if (!s.cursor || s.groups.size >= s.shown) break;
    }
    s.done = true;
  } catch (error) {
    if (error.name === 'AbortError' || s !== search) return;
    s.done = true;
    s.error = error.message;
  }
  show();
}

$('more').addEventListener('click', () => {
  const first = search.shown;
  search.shown += 30;
  show();
  const next = $('results').children[first];
  if (next) next.querySelector('button, a, summary')?.focus();
  if (search.cursor && search.groups.size < search.shown) { search.done = false; show(); go(search); }
});

function holderLine(h) {
  const where = good(h.play) ? el('a', { href: new URL(h.play).origin + '/', rel: 'noopener noreferrer' }, el('bdi', { text: h.peer })) : el('bdi', { text: h.peer });
  const more = [h.user ? safe(h.user) : null, h.partial ? t('partial') : null, h.speaks ? t('speaks', { what: h.speaks }) : null].filter(Boolean).join(' · ');
  return el('li', { title: h.speaks ? t('notPlayable') : null }, where, el('bdi', { text: safe(h.name) }), more ? el('span', { text: more }) : null);
}

function resultLine(holders) {
  // Who has all of it goes first, and who can be reached from here.
  const list = [...holders].sort((a, b) => (b.play ? 1 : 0) - (a.play ? 1 : 0));
  const file = list[0], said = holders.find(h => h.description);
  const what = el('div', { class: 'what' },
    el('h3', { class: 'name' }, el('bdi', { text: safe(file.name) })),
    said ? el('p', { class: 'said' }, el('bdi', { text: safe(said.description) })) : null,
    el('p', { class: 'facts' }, ...facts({ ...file, partial: list.every(h => h.partial) }), el('span', { text: list.length === 1 ? t('holders1') : t('holdersN', { n: number(list.length) }) })));
  const row = el('div', { class: 'row' }, what, actions(file, list));
  const notes = list.some(h => h.play) ? null : el('p', { class: 'said', text: list.some(h => h.speaks) ? t('notPlayable') : t('partial') });
  const details = el('details', null, el('summary', { text: t('whoHas') }), el('ul', null, ...list.slice(0, 64).map(holderLine)), file.root ? el('code', { text: 'b3:' + file.root }) : null);
  return el('li', null, row, notes, details);
}

function show() {
  const s = search, all = [...s.groups.values()];
  const open = new Set([...$('results').querySelectorAll('details[open]')].map(d => d.dataset.key));
  const rest = Boolean(s.cursor && s.done);
  $('found').hidden = !all.length && !rest;
  const keys = [...s.groups.keys()];
  // What stands there already stays, so that the focus does too.
  const old = new Map([...$('results').children].map(li => [li.dataset.key, li]));
  fill($('results'), all.slice(0, s.shown).map((holders, i) => {
    const mark = keys[i] + '|' + holders.length + '|' + lang, known = old.get(mark);
    if (known) return known;
    const line = resultLine(holders);
    line.dataset.key = mark;
    const details = line.querySelector('details');
    details.dataset.key = keys[i];
    details.open = open.has(keys[i]);
    return line;
  }));
  $('more').hidden = !(all.length > s.shown || rest);
  const n = all.length;
  $('status').textContent = s.error ? t('failed', { why: s.error }) : !s.q ? '' : !n && !s.done ? t('searching') : !n && !s.cursor ? t('found0', { q: safe(s.q) })
    : s.cursor ? t('foundMore', { n: number(n) }) : n === 1 ? t('found1') : t('foundN', { n: number(n) });
}
renderers.push(show);

// --- Who is online ---
let peers = [], peersCursor = null, reload = 0;

function peerLine(peer) {
  const count = peer.files === 1 ? t('files1') : t('filesN', { n: number(peer.files) });
  const list = el('ul');
  let cursor = null, begun = false;
  const more = el('button', { type: 'button', class: 'quiet wide', text: t('more'), hidden: '', on: { click: () => load() } });
  async function load() {
    try {
      const answer = await ask('/api/files?peer=' + encodeURIComponent(peer.peer) + (cursor ? '&cursor=' + encodeURIComponent(cursor) : ''));
      cursor = answer.cursor;
      for (const file of answer.files) {
        const reached = peer.speaks ? [] : [{ peer: peer.peer, play: file.play }];
        list.append(el('li', null, el('div', { class: 'what' }, el('bdi', { text: safe(file.name) }), el('p', { class: 'facts' }, ...facts(file))), actions(file, reached)));
      }
      if (!list.children.length) list.append(el('li', { text: t('noFiles') }));
      more.hidden = !cursor;
    } catch (error) { list.append(el('li', { text: t('failed', { why: error.message }) })); }
  }
  const details = el('details', { on: { toggle: () => { if (details.open && !begun) { begun = true; load(); } } } }, el('summary', { text: t('showFiles') }), list, more);
  const page = good(peer.page);
  return el('li', null,
    el('p', { class: 'name' }, el('bdi', { text: peer.user ? safe(peer.user) : peer.peer })),
    el('p', { class: 'facts' }, peer.user ? el('span', { text: peer.peer }) : null, el('span', { text: count }), peer.speaks ? el('span', { class: 'tag warn', text: t('speaks', { what: peer.speaks }) }) : null,
      page ? el('a', { href: page, rel: 'noopener noreferrer', text: t('itsPage') }) : null),
    details);
}

function showPeers() {
  const old = new Map([...$('peers').children].map(li => [li.dataset.key, li]));
  const open = new Set([...old].filter(([, li]) => li.querySelector('details[open]')).map(([key]) => key.split('|')[0]));
  const lines = peers.map(peer => {
    const mark = [peer.peer, peer.user, peer.files, lang].join('|');
    const known = old.get(mark), line = known || peerLine(peer);
    line.dataset.key = mark;
    // Whose files are looked at stays open when they change.
    if (!known && open.has(peer.peer)) line.querySelector('details').open = true;
    return line;
  });
  if (!lines.length) lines.push(el('li', { class: 'none', text: t('nobody') }));
  fill($('peers'), lines);
  $('morePeers').hidden = !peersCursor;
}

async function loadPeers(more) {
  try {
    const answer = await ask('/api/peers' + (more === true ? '?cursor=' + encodeURIComponent(peersCursor) : ''));
    peers = more === true ? [...peers, ...answer.peers] : answer.peers;
    peersCursor = answer.cursor;
    showPeers();
  } catch { /* the live line says that the server is away */ }
}
$('morePeers').addEventListener('click', () => loadPeers(true));
renderers.push(showPeers);

// --- Live ---
let last = null, known = '';
function showLive() {
  if (!last) return;
  const rate = chart.first.at(-1) || 0;
  $('nPeers').textContent = number(last.peers);
  $('nFiles').textContent = number(last.files);
  $('nUploads').textContent = number(Math.max(last.uploads, last.downloads));
  $('nRate').textContent = bytes(rate) + '/s';
  $('nSearches').textContent = number(last.searches);
  $('nMoved').textContent = bytes(Math.max(last.sent, last.received));
  draw(chart.first, chart.second, top => t('scale2', { rate: bytes(top[0]) + '/s', searches: number(top[1]) }));
}
renderers.push(showLive);

live('/api/live', now => {
  // A transfer is told of by both its ends, or by one of them.
  for (const [searches, , , , sent, received] of now.seconds) { keep(chart.first, Math.max(sent, received)); keep(chart.second, searches); }
  last = now;
  showLive();
  const mark = [now.joined, now.left, now.files].join();
  if (mark !== known) { known = mark; clearTimeout(reload); reload = setTimeout(loadPeers, 300); }
});

speak(lang);
const asked = /^#q=(.*)$/.exec(location.hash);
if (asked) { try { $('q').value = decodeURIComponent(asked[1]); begin(); } catch { /* a broken address asks for nothing */ } }
