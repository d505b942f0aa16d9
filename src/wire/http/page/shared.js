'use strict';
// What both pages need. Whatever others have said is put on the page as text, never as markup.

const $ = id => document.getElementById(id);

// --- Languages ---
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

// --- Text ---
// Characters that steer a line of text are shown rather than obeyed.
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

/** Puts these lines into a list; who stands on one that stays keeps his place. */
function fill(list, lines) {
  if (lines.length === list.children.length && lines.every((line, i) => line === list.children[i])) return;
  const focus = document.activeElement;
  list.replaceChildren(...lines);
  if (focus && focus !== document.activeElement && list.contains(focus)) focus.focus({ preventScroll: true });
}

const number = n => new Intl.NumberFormat(lang).format(n);
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let u = 0;
  while (n >= 1024 && u < units.length - 1) { n /= 1024; u++; }
  return new Intl.NumberFormat(lang, { maximumFractionDigits: u && n < 100 ? 1 : 0 }).format(n) + ' ' + units[u];
}

// --- Asking ---
async function ask(path, signal) {
  let answer;
  try { answer = await fetch(path, { signal, cache: 'no-store' }); } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error(t('offline'));
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(safe(body.text || answer.status));
  return body;
}

// Only an address of the kind that our own side writes is ever followed.
const good = url => (typeof url === 'string' && (/^\/files\//.test(url) || /^https?:\/\//.test(url)) ? url : null);
const kind = file => (/^(video|audio)\//.exec(file.type || '') || [])[1] || null;

function facts(file) {
  const root = file.root ? el('span', { class: 'tag', title: 'BLAKE3 ' + file.root, text: t('rootKnown') }) : el('span', { class: 'tag warn', text: t('rootUnknown') });
  const whole = file.partial ? el('span', { class: 'tag warn', text: t('partial') }) : el('span', { text: t('whole') });
  return [el('span', { text: file.size === null ? t('unknownSize') : bytes(file.size) }), whole, root];
}

function actions(file, sources) {
  const urls = sources.map(s => good(s.play)).filter(Boolean);
  const name = safe(file.name);
  const acts = el('div', { class: 'acts' });
  if (urls.length && kind(file)) acts.append(el('button', { type: 'button', class: 'btn play', text: t('play'), 'aria-label': t('playName', { name }), on: { click: event => play(file, sources, event.currentTarget) } }));
  if (urls.length) acts.append(el('a', { class: 'quiet get', href: urls[0] + '?download', download: '', rel: 'noopener noreferrer', text: t('download'), 'aria-label': t('downloadName', { name }) }));
  return acts;
}

// --- The player ---
// It goes through those who have the same content: on an error, or when nothing has come for a while, on with the next one from the same moment.
const STALL = 8000;
let playing = null;

function play(file, sources, opener) {
  stop();
  const list = sources.filter(s => good(s.play));
  const media = document.createElement(kind(file) === 'audio' ? 'audio' : 'video');
  media.controls = true;
  media.preload = 'auto';
  media.setAttribute('playsinline', '');
  const p = playing = { file, list, at: 0, tried: 0, media, moved: Date.now(), begun: false, failures: 0, opener, last: 0, timer: 0 };
  $('playing').firstElementChild.textContent = safe(file.name);
  media.setAttribute('aria-label', safe(file.name));
  $('stage').replaceChildren(media);
  $('player').hidden = false;
  // Each address change raises events of its own: only what the present one says counts.
  const alive = () => { p.moved = Date.now(); };
  for (const event of ['progress', 'timeupdate', 'loadeddata', 'seeked', 'play', 'pause']) media.addEventListener(event, alive);
  media.addEventListener('loadedmetadata', () => { alive(); p.begun = true; if (p.last > 0) media.currentTime = p.last; });
  media.addEventListener('playing', () => { alive(); p.failures = 0; p.tried = 0; say('from'); });
  media.addEventListener('timeupdate', () => { if (p.begun && media.readyState >= 2) p.last = media.currentTime; });
  media.addEventListener('seeking', () => { if (p.begun) p.last = media.currentTime; });
  media.addEventListener('error', () => { if (playing === p && media.getAttribute('src')) onward(p, 'next'); });
  p.timer = setInterval(() => watch(p), 500);
  start(p, 'from');
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
  // Nothing more is wanted where the person has paused, or all that is played is here.
  if (m.paused && p.begun || m.ended || m.seeking && Date.now() - p.moved < STALL) return;
  const starved = m.readyState < 3;
  if (!starved) { p.moved = Date.now(); return; }
  const since = Date.now() - p.moved;
  if (since > STALL && p.list.length > 1) onward(p, 'stalled');
  else if (!p.begun && Date.now() - p.asked > 2000 && p.said[0] === 'from') say('waiting');
}

function stop() {
  if (!playing) return;
  const p = playing;
  playing = null;
  clearInterval(p.timer);
  p.media.pause();
  p.media.removeAttribute('src');
  p.media.load();
  $('stage').replaceChildren();
  $('player').hidden = true;
  if (p.opener && p.opener.isConnected) p.opener.focus();
}
$('close').addEventListener('click', stop);
document.addEventListener('keydown', event => { if (event.key === 'Escape' && playing && !document.fullscreenElement) stop(); });
renderers.push(() => { if (playing) say(...playing.said); });

// --- Live ---
const KEPT = 300;
const chart = { first: [], second: [] };

function live(path, heard) {
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
      // The first word of each link has all that is remembered.
      if (fresh) { chart.first.length = chart.second.length = 0; fresh = false; }
      heard(now);
    });
    source.onerror = () => {
      state('lost');
      source.close();
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
  const top = [Math.max(1, ...firstOf), Math.max(1, ...secondOf)];
  const points = (list, max) => list.map((v, i) => ((KEPT - list.length + i) * W / (KEPT - 1)).toFixed(1) + ' ' + (H - 2 - v / max * (H - 12)).toFixed(1));
  const path = (cls, d) => { const e = document.createElementNS(NS, 'path'); e.setAttribute('class', cls); e.setAttribute('d', d); return e; };
  const parts = [path('base', `M0 ${H - 1}H${W}`)];
  const one = points(firstOf, top[0]), two = points(secondOf, top[1]);
  if (one.length > 1) parts.push(path('area', `M${one[0].split(' ')[0]} ${H}L${one.join('L')}L${W} ${H}Z`), path('line1', 'M' + one.join('L')));
  if (two.length > 1) parts.push(path('line2', 'M' + two.join('L')));
  svg.replaceChildren(...parts);
  $('scale').textContent = caption(top);
}

function keep(list, value) {
  list.push(value);
  if (list.length > KEPT) list.shift();
}
