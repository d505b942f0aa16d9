'use strict';
// Shared by both pages. Remote text is inserted as text, never as markup.

const $ = id => document.getElementById(id);

// Languages
let lang = 'en';
try { lang = localStorage.getItem('lang') || ''; } catch { lang = ''; }
if (!WORDS[lang]) lang = (navigator.languages || [navigator.language || 'en']).map(l => l.slice(0, 2).toLowerCase()).find(l => WORDS[l]) || 'en';
const renderers = [];

function t(key, values) {
  return (WORDS[lang][key] || WORDS.en[key] || key).replace(/\{(\w+)\}/g, (_, name) => (values && name in values ? String(values[name]) : ''));
}

function speak(code) {
  lang = code;
  document.documentElement.lang = code === 'pt' ? 'pt-BR' : code;
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll('[data-l]')) e.setAttribute('aria-label', t(e.dataset.l));
  for (const e of document.querySelectorAll('[data-p]')) e.placeholder = t(e.dataset.p);
  for (const b of document.querySelectorAll('[data-lang]')) b.setAttribute('aria-pressed', String(b.dataset.lang === code));
  for (const render of renderers) render();
}

for (const b of document.querySelectorAll('[data-lang]')) {
  b.addEventListener('click', () => {
    try { localStorage.setItem('lang', b.dataset.lang); } catch { /* then it is chosen again next time */ }
    speak(b.dataset.lang);
  });
}

// Text
// Show control characters instead of applying them.
const safe = text => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]/g, c => '⟨U+' + c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0') + '⟩');

function el(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined) continue;
    if (key === 'text') e.textContent = value;
    else if (key === 'on') for (const [event, act] of Object.entries(value)) e.addEventListener(event, act);
    else e.setAttribute(key, value);
  }
  e.append(...children.filter(child => child !== null && child !== undefined));
  return e;
}

const CONTROLS = 'a, button, summary';

/** Put lines with a data-id into a list without touching unchanged ones. A rebuilt line keeps its
 * focused control and open details. */
function fill(list, lines) {
  const focus = document.activeElement, old = [...list.children], stays = new Set(lines);
  let row = list.contains(focus) && focus !== list ? focus : null;
  while (row && row.parentNode !== list) row = row.parentNode;
  const at = old.indexOf(row), place = row ? [...row.querySelectorAll(CONTROLS)].indexOf(focus) : -1;
  const open = new Set(old.filter(line => !stays.has(line) && line.querySelector('details[open]')).map(line => line.dataset.id));
  for (const line of old) if (!stays.has(line)) line.remove();
  lines.forEach((line, i) => {
    if (open.has(line.dataset.id)) { const details = line.querySelector('details'); if (details) details.open = true; }
    if (list.children[i] !== line) list.insertBefore(line, list.children[i] || null);
  });
  if (!row || focus === document.activeElement) return;
  if (list.contains(focus)) return focus.focus({ preventScroll: true });
  // Focus the line that takes the place of a removed one.
  const next = lines.find(line => line.dataset.id === row.dataset.id) || lines[Math.min(at, lines.length - 1)];
  const controls = next ? next.querySelectorAll(CONTROLS) : [];
  (controls[place] || controls[0])?.focus({ preventScroll: true });
}

/** Natural order: 2 before 10, ignoring case; different names are never equal. */
const collators = {};
const natural = (a, b) => (collators[lang] ||= new Intl.Collator(lang, { numeric: true })).compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);

/** Number of files, and total size as far as known. */
function total(files, more) {
  const all = files.length === 1 ? t('files1') : t('filesN', { n: number(files.length) + (more ? '+' : '') });
  return all + ' · ' + bytes(files.reduce((sum, file) => sum + (file.size || 0), 0)) + (more ? '+' : '');
}

const number = n => new Intl.NumberFormat(lang).format(n);
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let u = 0;
  while (n >= 1024 && u < units.length - 1) { n /= 1024; u++; }
  return new Intl.NumberFormat(lang, { maximumFractionDigits: u && n < 100 ? 1 : 0 }).format(n) + ' ' + units[u];
}

// Asking
async function ask(path, signal, method = 'GET', data = undefined) {
  let answer;
  const headers = data === undefined ? {} : { 'Content-Type': 'application/json' };
  try { answer = await fetch(path, { signal, method, headers, body: data && JSON.stringify(data), cache: 'no-store' }); } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw Object.assign(new Error(t('offline')), { passing: true });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(safe(body.text || answer.status)), { passing: answer.status >= 500, code: body.error });
  return body;
}

// Follow only addresses that this program writes. A relative path suits any proxy prefix.
const gateway = document.querySelector('meta[name="gateway"]')?.content;
function good(url) {
  if (typeof url !== 'string') return null;
  if (gateway) {
    // Behind a gateway, files of peers come from this origin, and nothing else of a peer does.
    const file = /^http:\/\/([\w.:[\]]+)(\/files\/[\w.~%/-]+)$/.exec(url);
    return file && gateway + file[1] + file[2];
  }
  return /^\/files\//.test(url) ? url.slice(1) : /^https?:\/\//.test(url) ? url : null;
}
/** The name of a file, with a link to the page of that file alone. */
const nameOf = file => el('bdi', null, file.root && !file.partial ? el('a', { href: 'f/' + file.root + '/' + encodeURIComponent(file.name.split('/').pop()), text: safe(file.name) }) : safe(file.name));
const kind = file => (/^(video|audio)\//.exec(file.type || '') || [])[1] || null;

function facts(file) {
  const root = file.root ? el('span', { class: 'tag', title: 'BLAKE3 ' + file.root, text: t('rootKnown') }) : el('span', { class: 'tag warn', text: t('rootUnknown') });
  const whole = file.partial ? el('span', { class: 'tag warn', text: t('partial') }) : el('span', { text: t('whole') });
  return [el('span', { text: file.size === null ? t('unknownSize') : bytes(file.size) }), ...mediaFacts(file.media).map(text => el('span', { text })), whole, root];
}

/** Duration, resolution and codecs: facts that the owner tells. */
function mediaFacts(media) {
  const { duration_ms: ms, width, height, video, audio } = media || {};
  const seconds = Math.round(ms / 1000), two = n => String(n).padStart(2, '0');
  const length = seconds < 3600 ? '' : Math.floor(seconds / 3600) + ':';
  return [ms && length + (length ? two(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60)) + ':' + two(seconds % 60),
    width && height && width + ' × ' + height, [video, audio].filter(Boolean).join(', ')].filter(Boolean).map(safe);
}

function actions(file, sources) {
  const urls = sources.map(s => good(s.play)).filter(Boolean);
  const name = safe(file.name);
  const acts = el('div', { class: 'acts' });
  if (urls.length && kind(file)) acts.append(el('button', { type: 'button', class: 'btn play', text: t('play'), 'aria-label': t('playName', { name }), on: { click: event => play(file, sources, event.currentTarget) } }));
  if (urls.length) acts.append(el('a', { class: 'quiet get', href: urls[0] + '?download', download: '', rel: 'noopener noreferrer', text: t('download'), 'aria-label': t('downloadName', { name }),
    on: { click: event => { if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; event.preventDefault(); keepFile(file, sources); } } }));
  return acts;
}

// Kinds and orders
// At most 16 extensions: the limit of a search.
const KINDS = {
  video: 'mp4,mkv,webm,avi,mov,m4v,mpg,mpeg,ts,ogv,3gp,wmv,flv', audio: 'mp3,flac,ogg,opus,m4a,wav,aac,oga,wma,aiff,mka',
  image: 'jpg,jpeg,png,gif,webp,avif,bmp,svg,heic,tif,tiff', text: 'txt,pdf,epub,md,srt,vtt,csv,json,doc,docx,odt,html,tex,log,rtf,mobi',
};
const extension = name => (/\.([^./]+)$/.exec(name) || [])[1]?.toLowerCase() || '';

/** The two lists of a page with kinds and orders. */
function tools(orders, changed) {
  const lists = [[$('kind'), 'kind', ['', ...Object.keys(KINDS)]], [$('sort'), 'sort', orders]];
  renderers.push(() => lists.forEach(([list, label, keys]) => {
    const { value } = list;
    list.replaceChildren(...keys.map(key => el('option', { value: key, text: t(label + key) })));
    list.value = value || keys[0];
  }));
  for (const [list] of lists) list.addEventListener('change', changed);
  return {
    ext: () => KINDS[$('kind').value] || '', sort: () => $('sort').value,
    fits: file => !$('kind').value || KINDS[$('kind').value].split(',').includes(extension(file.name)),
    compare: (a, b) => ({ size: 1, '-size': -1 }[$('sort').value] || 0) * ((a.size || 0) - (b.size || 0)) || natural(a.name, b.name),
  };
}

// Files in pages
const PAGES = 64, STEP = 100;

/** A list of files: request all pages, sort, and show a number at a time. Shown lines stay after a change. */
function fileList(path, list, more, sum, line, failed, choose = all => all) {
  let files = null, chosen = [], cursor = null, shown = STEP, run = 0, pages = PAGES;
  const lines = new Map();
  function show() {
    if (!files) return;
    chosen = choose(files);
    sum.textContent = chosen.length ? total(chosen, cursor) : '';
    const now = chosen.slice(0, shown).map(file => {
      const mark = lang + JSON.stringify(file), known = lines.get(file.name);
      if (known && known.mark === mark) return known.li;
      const li = line(file);
      li.dataset.id = file.name;
      lines.set(file.name, { mark, li });
      return li;
    });
    if (!now.length) now.push(el('li', { class: 'none', text: t('noFiles') }));
    fill(list, now);
    const left = chosen.length - shown;
    more.hidden = left <= 0 && !cursor;
    more.textContent = left > 0 ? t('moreN', { n: number(left) + (cursor ? '+' : '') }) : t('more');
  }
  async function load() {
    const mine = ++run, all = [];
    let next = null;
    try {
      for (let page = 0; page < pages; page++) {
        const answer = await ask(path + (next ? (path.includes('?') ? '&' : '?') + 'cursor=' + encodeURIComponent(next) : ''));
        if (mine !== run) return;
        all.push(...answer.files);
        next = answer.cursor;
        if (!next) break;
      }
      files = all.sort((a, b) => natural(a.name, b.name));
      cursor = next;
      failed(null);
      show();
    } catch (error) {
      if (mine !== run) return;
      failed(error);
      if (error.passing) setTimeout(() => { if (mine === run) load(); }, 3000);
    }
  }
  more.addEventListener('click', async () => {
    const first = shown;
    shown += STEP;
    if (cursor && chosen.length < shown) { pages += PAGES; await load(); } else show();
    list.children[first]?.querySelector(CONTROLS)?.focus();
  });
  return { load, show, all: () => files, again: () => { shown = STEP; show(); } };
}

// Downloads
// Request a file in a hidden frame: an error page appears there, and this page stays. Then try the
// next peer.
const PROBE = 4000;
let getting = 0;

function tell(key, values) {
  const say = () => { $('getting').textContent = t(key, values); };
  tell.again = say;
  say();
}
renderers.push(() => { if (tell.again) tell.again(); });

/** True for a reachable peer. A peer sends its icon without asking a person. */
async function isThere(url) {
  try {
    const icon = /^https?:/.test(url) ? new URL('/favicon.svg', url) : new URL('favicon.svg', document.baseURI);
    await fetch(icon, { mode: 'no-cors', cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(PROBE) });
    return true;
  } catch { return false; }
}

async function keepFile(file, sources) {
  const mine = ++getting, name = safe(file.name);
  const list = sources.filter(s => good(s.play));
  const from = async i => {
    if (mine !== getting) return;
    const source = list[i];
    if (!source) return tell('noMore');
    tell('getting', { name, peer: who(source) });
    if (!await isThere(good(source.play))) return from(i + 1);
    if (mine !== getting) return;
    const frame = el('iframe', { hidden: '', title: name, src: good(source.play) + '?download' });
    // A saved file raises no event. A page in the frame is an error of the peer or of the browser.
    frame.addEventListener('load', () => { frame.remove(); from(i + 1); });
    setTimeout(() => frame.remove(), 180000);
    document.body.append(frame);
    setTimeout(() => { if (frame.isConnected && mine === getting) tell('got', { name, peer: who(source) }); }, 1500);
  };
  await from(0);
}

// The player
// On an error or a stall, the next provider continues at the same position.
const STALL = 8000;
let playing = null;

function play(file, sources, opener, waits = false) {
  stop();
  const list = sources.filter(s => good(s.play));
  const media = document.createElement(kind(file) === 'audio' ? 'audio' : 'video');
  media.controls = true;
  media.preload = waits ? 'metadata' : 'auto';
  media.setAttribute('playsinline', '');
  const p = playing = { file, list, at: 0, tried: 0, media, moved: Date.now(), begun: false, failures: 0, opener, waits, last: 0, timer: 0 };
  $('playing').firstElementChild.textContent = safe(file.name);
  media.setAttribute('aria-label', safe(file.name));
  $('stage').replaceChildren(media);
  $('player').hidden = false;
  // Each change of source raises events; only those of the current source count.
  const alive = () => { p.moved = Date.now(); };
  for (const event of ['progress', 'timeupdate', 'loadeddata', 'seeked', 'play', 'pause']) media.addEventListener(event, alive);
  media.addEventListener('loadedmetadata', () => { alive(); p.begun = true; if (p.last > 0) media.currentTime = p.last; });
  media.addEventListener('playing', () => { alive(); p.failures = 0; p.tried = 0; say('from'); });
  media.addEventListener('timeupdate', () => { if (p.begun && media.readyState >= 2) p.last = media.currentTime; });
  media.addEventListener('seeking', () => { if (p.begun) p.last = media.currentTime; });
  media.addEventListener('error', () => { if (playing === p && media.getAttribute('src')) onward(p, 'next'); });
  if (file.poster && /^\/poster\/\w+$/.test(file.poster)) media.poster = file.poster.slice(1);
  if (kind(file) === 'video') addTracks(file, media);
  p.timer = setInterval(() => watch(p), 500);
  start(p, 'from');
  if (waits) return;
  $('player').scrollIntoView({ block: 'nearest' });
  media.focus();
}

const source = p => p.list[p.at];
const who = s => s.peer || location.host;

function say(key, other) {
  const p = playing;
  if (!p) return;
  p.said = [key, other];
  $('from').textContent = t(key, { peer: who(source(p)), i: p.at + 1, n: p.list.length, ...other });
}

function start(p, key, other) {
  p.moved = Date.now();
  p.begun = false;
  p.asked = Date.now();
  p.media.src = good(source(p).play);
  say(key, other);
  if (p.waits && !p.last && p.media.paused) return;
  p.media.play().catch(() => { /* the person presses play, or the error event tells */ });
}

function onward(p, why) {
  const before = who(source(p));
  p.tried++;
  p.failures++;
  if (p.failures > 2 * p.list.length || (p.list.length === 1 && p.failures > 3)) {
    clearInterval(p.timer);
    say(p.media.error && p.media.error.code === 4 && p.last === 0 ? 'cannot' : 'noMore');
    return;
  }
  p.at = (p.at + 1) % p.list.length;
  start(p, why, { peer: before, other: who(source(p)) });
}

function watch(p) {
  if (playing !== p) return clearInterval(p.timer);
  const m = p.media;
  // Nothing is missing during a pause, or at the end of the data.
  if (m.paused && p.begun || m.ended || m.seeking && Date.now() - p.moved < STALL) return;
  const starved = m.readyState < 3;
  if (!starved) { p.moved = Date.now(); return; }
  const since = Date.now() - p.moved;
  if (since > STALL && p.list.length > 1) onward(p, 'stalled');
  else if (!p.begun && Date.now() - p.asked > 2000 && p.said[0] === 'from') say('waiting');
}

function stop() {
  if (!playing) { $('player').hidden = true; return $('stage').replaceChildren(); }
  const p = playing;
  playing = null;
  clearInterval(p.timer);
  p.media.pause();
  for (const { src } of p.media.querySelectorAll('track')) URL.revokeObjectURL(src);
  p.media.removeAttribute('src');
  p.media.load();
  $('stage').replaceChildren();
  $('player').hidden = true;
  // The line may have been rebuilt.
  const label = p.opener?.getAttribute('aria-label');
  (p.opener?.isConnected ? p.opener : [...document.querySelectorAll('.play')].find(button => button.getAttribute('aria-label') === label))?.focus();
}
$('close').addEventListener('click', stop);
document.addEventListener('keydown', event => { if (event.key === 'Escape' && playing && !document.fullscreenElement) stop(); });
renderers.push(() => { if (playing) say(...playing.said); });

// Subtitles
// The page of a server reads no file of a peer.
const SUBTITLES = 1 << 20;
let findSubtitles = async () => [];

/** The text of subtitles in WebVTT. */
function webvtt(name, data) {
  let text;
  try { text = new TextDecoder('utf-8', { fatal: true }).decode(data); } catch { text = new TextDecoder('windows-1252').decode(data); }
  return extension(name) === 'vtt' ? text : 'WEBVTT\n\n' + text.replace(/\r\n?/g, '\n').replace(/(\d{1,2}:\d\d:\d\d),(\d{1,3})/g, '$1.$2');
}

async function addTracks(file, media) {
  const stem = file.name.replace(/\.[^./]*$/, '');
  const all = await findSubtitles(file, stem).catch(() => []);
  for (const { name, play } of all) {
    const answer = await fetch(good(play), { headers: { Range: 'bytes=0-' + (SUBTITLES - 1) }, cache: 'no-store' }).catch(() => null);
    if (!answer?.ok || playing?.media !== media) continue;
    const src = URL.createObjectURL(new Blob([webvtt(name, (await answer.arrayBuffer()).slice(0, SUBTITLES))], { type: 'text/vtt' }));
    const label = safe(name.slice(stem.length + 1).replace(/\.?[^.]*$/, '')), language = /^[a-z]{2}\b/i.exec(label)?.[0].toLowerCase() || lang;
    media.append(el('track', { kind: 'subtitles', label: label || t('subtitles'), srclang: language, src, default: all.length === 1 || language === lang ? '' : null }));
  }
}

// The page of one file
const TEXT = 64 << 10;
const wanted = (() => {
  try {
    const [, root, name] = /\/f\/([0-9a-f]{64})\/([^/]+)$/.exec(location.pathname) || [];
    return root && { root, name: decodeURIComponent(name) };
  } catch { return null; }
})();
if (wanted) document.title = safe(wanted.name) + ' – cardume';

/** Show a picture or a text on the stage. */
function still(file, shown) {
  $('playing').firstElementChild.textContent = safe(file.name);
  $('stage').replaceChildren(shown);
  $('from').textContent = '';
  $('player').hidden = false;
}

/** Show a file by means of the browser. */
async function preview(file, sources) {
  const urls = sources.map(s => good(s.play)).filter(Boolean), type = file.type || '';
  if (!urls.length) return;
  if (kind(file)) {
    play(file, sources, null, true);
    // The browser knows a part of the facts.
    const { media } = playing;
    // Another origin lets this page show pictures.
    if (kind(file) === 'video' && file.root && /^https?:/.test(urls[0])) media.poster = new URL('/poster/' + file.root, urls[0]).href;
    if (!file.media) media.addEventListener('loadedmetadata', () => { $('fileState').textContent = mediaFacts({ duration_ms: Number.isFinite(media.duration) ? 1000 * media.duration : 0, width: media.videoWidth, height: media.videoHeight }).join(' · '); });
    return;
  }
  if (/^image\//.test(type)) {
    let i = 0;
    const image = el('img', { alt: safe(file.name), src: urls[0], on: { error: () => { if (++i < urls.length) image.src = urls[i]; else { image.remove(); $('from').textContent = t('noMore'); } } } });
    return still(file, image);
  }
  if (!/^(text\/|application\/json)/.test(type)) return;
  // Another origin lets this page show media only, never read bytes.
  if (/^https?:/.test(urls[0])) {
    $('fileState').replaceChildren(...t('textThere', { peer: '\n' }).split('\n').flatMap((text, i) => [i ? el('a', { href: new URL('/f/' + file.root + '/' + encodeURIComponent(wanted.name), urls[0]).href, rel: 'noopener noreferrer', text: who(sources.find(s => s.play)) }) : '', text]));
    return;
  }
  const answer = await fetch(urls[0], { headers: { Range: 'bytes=0-' + (TEXT - 1) }, cache: 'no-store' }).catch(() => null);
  if (!answer?.ok) return;
  const text = new TextDecoder().decode((await answer.arrayBuffer()).slice(0, TEXT));
  still(file, el('pre', { tabindex: '0', text: [...text].map(c => (/[\n\t]/.test(c) ? c : safe(c))).join('') }));
  if (file.size > TEXT) $('from').textContent = t('textCut', { size: bytes(TEXT) });
}

// Live
const KEPT = 300;
const chart = { first: [], second: [] };

/** Receive live events while the page is open; the first event of each connection is marked as fresh. */
function live(path, heard, lost) {
  let source, pause = 2000, was = '';
  const state = key => { if (was !== key) { was = key; $('liveState').textContent = t(key); } };
  renderers.push(() => { if (was) $('liveState').textContent = t(was); });
  const open = () => {
    let fresh = true;
    source = new EventSource(path);
    source.addEventListener('live', event => {
      pause = 2000;
      state('connected');
      const now = JSON.parse(event.data);
      // The first event of each connection holds the whole history.
      const first = fresh;
      if (first) { chart.first.length = chart.second.length = 0; fresh = false; }
      heard(now, first);
    });
    source.onerror = () => {
      state('lost');
      source.close();
      lost?.();
      setTimeout(open, pause);
      pause = Math.min(pause * 2, 30000);
    };
  };
  addEventListener('pagehide', () => source.close());
  addEventListener('pageshow', event => { if (event.persisted) open(); });
  open();
}

function draw(firstOf, secondOf, caption) {
  const svg = $('chart'), W = 600, H = 140, NS = 'http://www.w3.org/2000/svg';
  const most = [Math.max(0, ...firstOf), Math.max(0, ...secondOf)], top = most.map(value => Math.max(1, value));
  const points = (list, max) => list.map((v, i) => ((KEPT - list.length + i) * W / (KEPT - 1)).toFixed(1) + ' ' + (H - 2 - v / max * (H - 12)).toFixed(1));
  const path = (cls, d) => { const e = document.createElementNS(NS, 'path'); e.setAttribute('class', cls); e.setAttribute('d', d); return e; };
  const parts = [path('base', `M0 ${H - 1}H${W}`)];
  const one = points(firstOf, top[0]), two = points(secondOf, top[1]);
  if (one.length > 1) parts.push(path('area', `M${one[0].split(' ')[0]} ${H}L${one.join('L')}L${W} ${H}Z`), path('line1', 'M' + one.join('L')));
  if (two.length > 1) parts.push(path('line2', 'M' + two.join('L')));
  svg.replaceChildren(...parts);
  $('scale').textContent = caption(most);
}

function keep(list, value) {
  list.push(value);
  if (list.length > KEPT) list.shift();
}
