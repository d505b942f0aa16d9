'use strict';
// The session
// The token of an invite must stay neither in the address bar nor in the history.
const token = /^#i=(.*)$/.exec(location.hash)?.[1];
if (token !== undefined) history.replaceState(null, '', location.pathname + location.search);
let me = null, joinError = null;

/** True for a visitor without any right: nothing but the notice is shown. */
const isOutside = () => Boolean(me && me.closed && !me.role);

function showMe() {
  const outside = isOutside(), inSession = Boolean(me && me.left !== null);
  for (const e of document.querySelectorAll('main > :not(#you)')) e.classList.toggle('outside', outside);
  // The view of administrators is a script of its own, which others do not load.
  if (me?.role === 'admin' && !document.querySelector('script[src="admin.js"]')) document.body.append(el('script', { src: 'admin.js' }));
  $('you').hidden = !outside && !inSession;
  $('leave').hidden = !inSession;
  if (outside) {
    $('youTitle').textContent = t('membersOnly');
    $('youText').textContent = joinError || t('inviteNeeded');
  } else if (inSession) {
    const until = new Intl.DateTimeFormat(lang, { hour: '2-digit', minute: '2-digit' }).format(me.until);
    $('youTitle').textContent = t('youAre', { name: safe(me.name), role: t(me.role) });
    $('youText').textContent = t('howToFetch') + ' ' + t('sessionEnds', { until });
  }
}
renderers.push(showMe);

async function meet(method, body) {
  try {
    me = await ask('api/session', undefined, method, body);
    me.until = Date.now() + 1000 * (me.left || 0);
    if (method) joinError = null;
  } catch (error) {
    if (method) joinError = error.code === 'bad_token' ? t('inviteBad') : t('failed', { why: error.message });
    // A server without sessions, or one that is away, which the live line tells.
    else me ||= { closed: false, role: null, left: null };
  }
  if (!me) await meet();
  showMe();
}

$('leave').addEventListener('click', async () => { await meet('DELETE'); location.reload(); });

/** The first request: the invite in the address, or who this is already. */
function enter() {
  if (token === undefined) return meet();
  if (location.protocol === 'https:') return meet('POST', { token });
  joinError = t('inviteTls');
  return meet();
}

// Search as you type
const MOST = 1000, FIRST = 30;
let search = { q: '', groups: new Map(), more: [], done: true, error: null, shown: FIRST, similar: false, control: null };
let typed = 0;

// One result per content and name. Without a root, the size stands for the content.
const keyOf = h => (h.root || h.size) + '/' + h.name;
const countPeers = holders => new Set(holders.map(h => h.peer)).size;

const view = tools(['', 'name', '-size', 'size'], () => begin('again'));
$('q').addEventListener('input', () => { clearTimeout(typed); typed = setTimeout(begin, 60); });
$('form').addEventListener('submit', event => { event.preventDefault(); clearTimeout(typed); begin('again'); });

/** The requests for a text, best first: a content by hash, a user by @NAME, or a name, words, and
 * a user of that name. */
function questions(q) {
  // The server filters and sorts all results.
  const more = (view.ext() && '&ext=' + view.ext()) + (view.sort() && '&sort=' + view.sort());
  const of = (path, key, value, rank) => ({ path: 'api/' + path + '?' + key + '=' + encodeURIComponent(value) + (path === 'search' ? more : ''), rank, cursor: null });
  const hash = /^(b3:)?([0-9a-f]{64})$/i.exec(q), user = /^@(\S+)$/.exec(q);
  if (hash) return [of('root', 'root', hash[2], 0)];
  if (/^b3:/i.test(q)) return null;
  if (user) return [of('search', 'owner', user[1], 0)];
  const all = [of('search', 'q', q, 1)];
  if (!more) all.unshift(of('name', 'name', q, 0));
  // Part of the name of an online user is enough.
  const users = new Set(peers.map(peer => peer.user).filter(user => user && user.toLowerCase().includes(q.toLowerCase())));
  if (!/\s/.test(q)) users.add(q);
  all.push(...[...users].slice(0, 4).map(user => of('search', 'owner', user, 2)));
  return all;
}

/** Start a search for the input. 'again': also for unchanged input. 'quiet': unchanged input;
 * keep the results until the new ones are complete. */
function begin(how) {
  const q = $('q').value.trim(), quiet = how === 'quiet';
  if (q === search.q && how !== 'again' && !quiet) return;
  if (search.control) search.control.abort();
  if (!quiet) {
    // A search leaves the page of one file.
    if (wanted) { $('file').hidden = true; document.title = 'cardume'; }
    history.replaceState(null, '', document.baseURI.split('#')[0] + (q ? '#q=' + encodeURIComponent(q) : ''));
  }
  const before = search, ask = q ? questions(q) : [];
  search = { q, groups: new Map(), more: ask || [], done: !q || !ask, error: null, short: !ask, shown: quiet ? before.shown : FIRST, similar: false, quiet, control: new AbortController() };
  if (!q || !ask || !before.groups.size) show();
  if (q && ask) go(search);
}

/** Request all pages of a query. An invalid query finds nothing: not every text is a name or a user. */
async function page(s, question) {
  const cursor = question.cursor ? '&cursor=' + encodeURIComponent(question.cursor) : '';
  let answer = { holders: [], away: [], cursor: null };
  try { answer = await ask(question.path + cursor, s.control.signal); } catch (error) {
    if (error.name === 'AbortError' || error.passing || question.rank === 1) throw error;
  }
  if (s !== search) throw new DOMException('', 'AbortError');
  for (const h of answer.holders) {
    const key = keyOf(h), group = s.groups.get(key);
    if (!group) s.groups.set(key, { key, name: h.name, rank: question.rank, holders: [h] });
    else if (!group.holders.some(other => other.peer === h.peer)) group.holders.push(h);
  }
  for (const file of answer.away || []) {
    const key = 'away/' + file.user + '/' + file.name;
    if (!s.groups.has(key)) s.groups.set(key, { key, name: file.name, rank: question.rank, holders: [], away: file });
  }
  question.cursor = answer.cursor;
  return answer;
}

// The first page of a query is shown at once, the rest when typing stops.
async function go(s) {
  try {
    for (const question of [...s.more]) {
      await page(s, question);
      if (!question.cursor) s.more.splice(s.more.indexOf(question), 1);
      if (s.groups.size && !s.quiet) show();
    }
    if (s.more.length) await new Promise(done => setTimeout(done, 250));
    for (let pages = 0, size = s.groups.size; s.more.length && pages < PAGES && s.groups.size < size + MOST; pages++) {
      await page(s, s.more[0]);
      if (!s.more[0].cursor) s.more.shift();
    }
    const words = s.q.split(/\s+/).filter(word => [...word].length >= 3).join(' ');
    if (!s.groups.size && !s.more.length && words && !/^(@|b3:)/i.test(s.q)) {
      s.similar = true;
      await page(s, { path: 'api/search?like=' + encodeURIComponent(words), rank: 3, cursor: null });
    }
    s.error = null;
  } catch (error) {
    if (error.name === 'AbortError' || s !== search) return;
    s.error = error.message;
    // Keep the results until the server is back.
    if (error.passing) setTimeout(() => { if (s === search) begin('quiet'); }, 3000);
  }
  if (s !== search) return;
  s.done = true;
  show();
}

$('more').addEventListener('click', () => {
  const first = search.shown;
  search.shown += FIRST;
  show();
  $('results').children[first]?.querySelector(CONTROLS)?.focus();
  if (search.done && search.more.length && search.groups.size < search.shown) { search.done = false; show(); go(search); }
});

function holderLine(h) {
  const where = good(h.play) && !gateway ? el('a', { href: new URL(h.play).origin + '/', rel: 'noopener noreferrer' }, el('bdi', { text: h.peer })) : el('bdi', { text: h.peer });
  const more = [h.user ? safe(h.user) : null, h.partial ? t('partial') : null, h.speaks ? t('speaks', { what: h.speaks }) : null].filter(Boolean).join(' · ');
  return el('li', { class: 'holder', title: h.speaks ? t('notPlayable') : null }, where, el('bdi', { text: safe(h.name) }), more ? el('span', { text: more }) : null);
}

/** A publication of an offline user: no provider, so the line has no buttons. */
function awayLine({ name, description, user }) {
  return el('li', { class: 'away' }, el('h3', { class: 'name' }, el('bdi', { text: safe(name) })),
    description ? el('p', { class: 'said' }, el('bdi', { text: safe(description) })) : null,
    el('p', { class: 'facts' }, el('span', { class: 'tag warn', text: t('away') }), el('span', { text: t('awayUser', { user: safe(user) }) })));
}

/** One result, and the providers of the same content under other names. */
function resultLine({ name, holders, rank }, others) {
  // Complete files first, and peers that a browser can reach.
  const list = [...holders].sort((a, b) => (b.play ? 1 : 0) - (a.play ? 1 : 0));
  const file = { ...list[0], name }, said = list.find(h => h.description);
  const peers = countPeers(list), known = new Set(list.map(h => h.peer));
  const more = others.filter(h => !known.has(h.peer)), named = countPeers(more);
  const sources = [...list, ...more];
  const what = el('div', { class: 'what' },
    el('h3', { class: 'name' }, nameOf(file)),
    said ? el('p', { class: 'said' }, el('bdi', { text: safe(said.description) })) : null,
    el('p', { class: 'facts' }, ...facts({ ...file, partial: list.every(h => h.partial) }), el('span', { text: peers === 1 ? t('holders1') : t('holdersN', { n: number(peers) }) }),
      named ? el('span', { text: t('otherNames', { n: number(named) }) }) : null,
      rank === 2 && file.user ? el('span', { class: 'tag', text: t('ofUser', { user: safe(file.user) }) }) : null));
  const row = el('div', { class: 'row' }, what, actions(file, sources));
  const notes = sources.some(h => h.play) ? null : el('p', { class: 'said', text: t(list.some(h => h.speaks) ? 'notPlayable' : me && me.left !== null ? 'byWeb' : list.every(h => h.partial) ? 'partial' : 'elsewhere') });
  const details = el('details', null, el('summary', { text: t('whoHas') }), el('ul', null, ...sources.slice(0, 64).map(holderLine)), file.root ? el('code', { text: 'b3:' + file.root }) : null);
  return el('li', null, row, notes, details);
}

/** The results in order: the exact name, then another case. Of equal names, files with providers first. */
function inOrder(s) {
  const q = s.q.toLowerCase();
  if (view.sort()) {
    return [...s.groups.values()].filter(({ away }) => !away || !view.ext()).map(group => ({ size: group.holders[0]?.size, name: group.name, group })).sort(view.compare).map(({ group }) => group);
  }
  const place = group => (group.rank < 2 && group.name === s.q ? 0 : group.rank < 2 && group.name.toLowerCase() === q ? 1 : group.rank + 2);
  // Similar names keep the order of the server: most similar first.
  return [...s.groups.values()].map(group => [place(group), group])
    .sort(([a, one], [b, two]) => a - b || (a < 5 ? natural(one.name, two.name) : 0) || (one.away ? 1 : 0) - (two.away ? 1 : 0)).map(([, group]) => group);
}

function show() {
  const s = search, all = inOrder(s), n = all.length, rest = s.more.length > 0;
  // Keep the results until the repeated search is complete, or while the server is away.
  if (s.quiet && s.error) $('status').textContent = t('failed', { why: s.error });
  if (s.quiet && (s.error || !s.done)) return;
  $('found').hidden = !n;
  const old = new Map([...$('results').children].map(li => [li.dataset.mark, li]));
  const byRoot = new Map();
  for (const h of all.flatMap(group => group.holders)) {
    if (!byRoot.has(h.root)) byRoot.set(h.root, []);
    byRoot.get(h.root).push(h);
  }
  fill($('results'), all.slice(0, s.shown).map(group => {
    const { root } = group.holders[0] || {}, others = root ? byRoot.get(root).filter(h => h.name !== group.name) : [];
    const mark = JSON.stringify([group, others, lang]), known = old.get(mark);
    if (known) return known;
    const line = group.away ? awayLine(group.away) : resultLine(group, others);
    line.dataset.mark = mark;
    line.dataset.id = group.key;
    return line;
  }));
  const left = n - s.shown;
  $('more').hidden = left <= 0 && !rest;
  $('more').textContent = left > 0 ? t('moreN', { n: number(left) + (rest ? '+' : '') }) : t('more');
  // A publication of an offline user has no size; a content with two names counts once.
  const sizes = new Map(all.filter(group => !group.away).map(({ key, holders: [h] }) => [h.root || key, h.size || 0]));
  const size = sizes.size ? ' ' + bytes([...sizes.values()].reduce((sum, size) => sum + size, 0)) + (rest ? '+' : '') : '';
  $('status').textContent = s.error ? t('failed', { why: s.error }) : s.short ? t('rootShort') : !s.q ? '' : !n && !s.done ? t('searching') : !n ? t('found0', { q: safe(s.q) })
    : (s.similar ? t('foundLike') + ' ' : '') + (rest ? t('foundMore', { n: number(n) }) : n === 1 ? t('found1') : t('foundN', { n: number(n) })) + size;
}
renderers.push(show);

// Who is online
let peers = [], peersCursor = null, peersPages = 1, reload = 0;
const lists = new Map();

function peerLine(peer) {
  const count = peer.files === 1 ? t('files1') : t('filesN', { n: number(peer.files) });
  const list = el('ul'), sum = el('p', { class: 'total' }), note = el('p', { class: 'said' });
  const more = el('button', { type: 'button', class: 'quiet wide', text: t('more'), hidden: '' });
  const line = file => el('li', null, el('div', { class: 'what' }, el('bdi', { text: safe(file.name) }), el('p', { class: 'facts' }, ...facts(file))),
    actions(file, peer.speaks ? [] : [{ peer: peer.peer, play: file.play }]));
  const files = fileList('api/files?peer=' + encodeURIComponent(peer.peer), list, more, sum, line, error => { note.textContent = error ? t('failed', { why: error.message }) : ''; });
  let begun = false;
  const details = el('details', { on: { toggle: () => { if (details.open && !begun) { begun = true; files.load(); } } } }, el('summary', null, el('span', { text: t('showFiles') })), sum, list, more, note);
  const said = el('span', { text: count }), page = good(peer.page);
  const li = el('li', { 'data-id': peer.peer }, el('p', { class: 'name' }, el('bdi', { text: peer.user ? safe(peer.user) : peer.peer })),
    el('p', { class: 'facts' }, peer.user ? el('span', { text: peer.peer }) : null, said, peer.speaks ? el('span', { class: 'tag warn', text: t('speaks', { what: peer.speaks }) }) : null,
      page ? el('a', { href: page, rel: 'noopener noreferrer', text: t('itsPage') }) : null),
    details);
  // Request the list again after a change; keep everything else.
  const changed = n => { said.textContent = n === 1 ? t('files1') : t('filesN', { n: number(n) }); if (begun) files.load(); };
  return { li, changed };
}

function showPeers() {
  const lines = peers.map(peer => {
    const mark = [peer.user, peer.speaks, peer.page, lang].join('|'), known = lists.get(peer.peer);
    if (known && known.mark === mark) {
      if (known.files !== peer.files) { known.files = peer.files; known.changed(peer.files); }
      return known.li;
    }
    const made = { ...peerLine(peer), mark, files: peer.files };
    lists.set(peer.peer, made);
    return made.li;
  });
  for (const at of lists.keys()) if (!peers.some(peer => peer.peer === at)) lists.delete(at);
  if (!lines.length) lines.push(el('li', { class: 'none', text: t('nobody') }));
  fill($('peers'), lines);
  $('morePeers').hidden = !peersCursor;
}

/** Request as many pages as before, so that a change hides no line. */
async function loadPeers() {
  try {
    const all = [];
    let cursor = null;
    for (let page = 0; page < peersPages; page++) {
      const answer = await ask('api/peers' + (cursor ? '?cursor=' + encodeURIComponent(cursor) : ''));
      all.push(...answer.peers);
      cursor = answer.cursor;
      if (!cursor) break;
    }
    [peers, peersCursor] = [all, cursor];
    showPeers();
  } catch { /* the live line says that the server is away */ }
}
$('morePeers').addEventListener('click', async () => {
  const first = peers.length;
  peersPages++;
  await loadPeers();
  $('peers').children[first]?.querySelector(CONTROLS)?.focus();
});
renderers.push(showPeers);

// Live
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

let anew = 0;
const begun = () => live('api/live', (now, fresh) => {
  // Both ends of a transfer may report the same bytes.
  for (const [searches, , , , sent, received] of now.seconds) { keep(chart.first, Math.max(sent, received)); keep(chart.second, searches); }
  last = now;
  showLive();
  const mark = [now.joined, now.left, now.files].join();
  if (!fresh && mark === known) return;
  known = mark;
  clearTimeout(reload);
  reload = setTimeout(loadPeers, 300);
  // Providers may have changed. Limit the rate, since many viewers may react to each change.
  if (search.q && !anew) anew = setTimeout(() => { anew = 0; if (search.q && search.done) begin('quiet'); }, search.error ? 300 : search.groups.size > 200 ? 30000 : 5000);
}, () => { if (me?.left !== null) meet(); });

// The base of a page of one file leads away.
document.querySelector('.skip').addEventListener('click', event => { event.preventDefault(); $('q').focus(); });
speak(lang);
if (gateway) {
  findSubtitles = async (file, stem) => {
    const { holders } = await ask('api/search?ext=srt,vtt&q=' + encodeURIComponent(stem.split('/').pop()));
    const names = new Map(holders.filter(h => h.play && h.name.startsWith(stem + '.')).map(h => [h.name, h]));
    return [...names.values()].slice(0, 16);
  };
}

/** The page of one file: its providers, and a preview. */
let about = null;
async function showFile() {
  const groups = new Map(), all = [];
  try {
    for (let cursor = '', pages = 0; cursor !== null && pages < 4; pages++) {
      const answer = await ask('api/root?root=' + wanted.root + (cursor && '&cursor=' + encodeURIComponent(cursor)));
      all.push(...answer.holders);
      cursor = answer.cursor;
    }
  } catch (error) { $('fileState').textContent = t('failed', { why: error.message }); return; }
  for (const h of all) groups.set(h.name, [...(groups.get(h.name) || []), h]);
  // The address is text of its sender.
  const name = [...groups.keys()].find(name => name.split('/').pop() === wanted.name) || all[0]?.name;
  about = name ? { name, holders: groups.get(name), others: all.filter(h => h.name !== name) } : {};
  drawFile();
  if (name) preview({ ...about.holders.find(h => h.play) || about.holders[0], name }, [...about.holders, ...about.others]);
}
function drawFile() {
  if (!about) return;
  $('fileList').replaceChildren(about.name ? resultLine({ ...about, rank: 0 }, about.others) : el('li', { class: 'none', text: t('fileGone') }));
  const details = $('fileList').querySelector('details');
  if (details) details.open = true;
}
renderers.push(drawFile);

const asked = /^#q=(.*)$/.exec(location.hash);
enter().then(() => {
  if (isOutside()) return $('youTitle').focus();
  begun();
  if (wanted && !asked) { $('file').hidden = false; showFile(); }
  if (asked) try { $('q').value = decodeURIComponent(asked[1]); begin(); } catch { /* a broken address asks for nothing */ }
});
