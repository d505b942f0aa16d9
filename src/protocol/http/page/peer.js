'use strict';
// Texts of this page alone.
const OWN = {
  en: {
    dropTitle: 'Give a file', dropText: 'Choose files for the owner of this peer, each at most {size}', dropAsks: 'The owner is being asked…', dropSends: 'On its way…', dropDone: 'The owner has it, as {name}.',
    chartPeerLabel: 'Bytes sent and received in the last five minutes', keySent: 'Sent', keyReceived: 'Received', thisPeer: 'The peer at', uploadsNow: 'uploads under way', downloadsNow: 'downloads under way', transfers: 'Transfers',
    files: 'Files', folders: 'Folders', folderGet: 'Download folder', folderGetName: 'Download folder {name}', folderBusy: '{name}/: file {i} of {n}…', folderDone: '{name}/: {n} files are in your folder.',
    folderFailed: '{name}/: {failed} of {n} files did not come. Try again: only these are fetched.', folderTaken: 'another file has that name', folderCommand: 'This browser cannot write a folder. In a terminal: {command}',
    filterLabel: 'Filter by words', folderOpen: 'Open', folderOpenName: 'Open the folder {name}', folderTop: 'All files', up: 'to {peer}', down: 'download', consent: 'waits for your yes', waitingSlot: 'waits',
    others: 'Only who sits at that computer sees which.', pause: 'Pause', resume: 'Resume', cancel: 'Cancel', top: 'First', queued: 'queued', paused: 'paused',
  },
  pt: {
    dropTitle: 'Dar um arquivo', dropText: 'Escolha arquivos para o dono deste peer, cada um com no máximo {size}', dropAsks: 'O dono é perguntado…', dropSends: 'A caminho…', dropDone: 'O dono o tem, como {name}.',
    chartPeerLabel: 'Bytes enviados e recebidos nos últimos cinco minutos', keySent: 'Enviado', keyReceived: 'Recebido', thisPeer: 'O peer em', uploadsNow: 'envios em curso', downloadsNow: 'downloads em curso', transfers: 'Transferências',
    files: 'Arquivos', folders: 'Pastas', folderGet: 'Baixar pasta', folderGetName: 'Baixar pasta {name}', folderBusy: '{name}/: arquivo {i} de {n}…', folderDone: '{name}/: {n} arquivos estão na sua pasta.',
    folderFailed: '{name}/: {failed} de {n} arquivos não vieram. Tente de novo: só esses são pedidos.', folderTaken: 'outro arquivo tem este nome', folderCommand: 'Este navegador não grava uma pasta. Num terminal: {command}',
    filterLabel: 'Filtrar por palavras', folderOpen: 'Abrir', folderOpenName: 'Abrir a pasta {name}', folderTop: 'Todos os arquivos', up: 'para {peer}', down: 'download', consent: 'espera o seu sim', waitingSlot: 'espera',
    others: 'Só quem está naquele computador vê quais.', pause: 'Pausar', resume: 'Retomar', cancel: 'Cancelar', top: 'Primeiro', queued: 'na fila', paused: 'pausado',
  },
  es: {
    dropTitle: 'Dar un archivo', dropText: 'Elige archivos para el dueño de este peer, cada uno de {size} como máximo', dropAsks: 'Se pregunta al dueño…', dropSends: 'En camino…', dropDone: 'El dueño lo tiene, como {name}.',
    chartPeerLabel: 'Bytes enviados y recibidos en los últimos cinco minutos', keySent: 'Enviado', keyReceived: 'Recibido', thisPeer: 'El peer en', uploadsNow: 'envíos en curso', downloadsNow: 'descargas en curso',
    transfers: 'Transferencias', files: 'Archivos', folders: 'Carpetas', folderGet: 'Descargar carpeta', folderGetName: 'Descargar carpeta {name}', folderBusy: '{name}/: archivo {i} de {n}…',
    folderDone: '{name}/: {n} archivos están en tu carpeta.', folderFailed: '{name}/: {failed} de {n} archivos no llegaron. Inténtalo de nuevo: solo se piden esos.', folderTaken: 'otro archivo tiene ese nombre',
    folderCommand: 'Este navegador no escribe una carpeta. En un terminal: {command}', filterLabel: 'Filtrar por palabras', folderOpen: 'Abrir', folderOpenName: 'Abrir la carpeta {name}', folderTop: 'Todos los archivos', up: 'para {peer}',
    down: 'descarga', consent: 'espera tu sí', waitingSlot: 'espera', others: 'Solo quien está en ese ordenador ve cuáles.',
    pause: 'Pausar', resume: 'Reanudar', cancel: 'Cancelar', top: 'Primero', queued: 'en cola', paused: 'en pausa',
  },
};
for (const code of Object.keys(OWN)) Object.assign(WORDS[code], OWN[code]);
$('host').textContent = location.host;

// Folder, filter and order of the files that are shown
// The folder ends with a slash; empty: all files.
let at = '';
const words = () => $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
const view = tools(['name', '-size', 'size'], () => files.again());
function choose(all) {
  const wordsNow = words();
  return all.filter(file => {
    if (!file.name.startsWith(at) || !view.fits(file)) return false;
    if (!wordsNow.length) return !at || !file.name.includes('/', at.length);
    const name = file.name.toLowerCase();
    return wordsNow.every(word => name.includes(word));
  }).sort(view.compare);
}
let filtering = 0;
$('filter').addEventListener('input', () => { clearTimeout(filtering); filtering = setTimeout(() => files.again(), 100); });

function readFolder() {
  const [, text] = /^#d=(.*)$/.exec(location.hash) || [];
  try { at = text ? decodeURIComponent(text).replace(/\/*$/, '/') : ''; } catch { at = ''; }
}
addEventListener('hashchange', () => { readFolder(); files.again(); showFolders(); (at ? $('crumbs').lastElementChild : $('folderList').querySelector(CONTROLS))?.focus(); });
readFolder();

function showCrumbs() {
  const parts = at.split('/').slice(0, -1);
  $('crumbs').hidden = !at;
  $('crumbs').replaceChildren(el('a', { href: '#d=', text: t('folderTop') }), ...parts.map((part, i) => el('a', { href: '#d=' + encodeURIComponent(parts.slice(0, i + 1).join('/')), 'aria-current': i + 1 === parts.length ? 'true' : null, text: safe(part) })));
  // The base of a page of one file would make these links lead away.
  for (const link of $('crumbs').children) link.addEventListener('click', event => { event.preventDefault(); location.hash = link.getAttribute('href'); });
}

// Files
function fileLine(file) {
  const what = el('div', { class: 'what' }, el('h3', { class: 'name' }, nameOf(file)), el('p', { class: 'facts' }, ...facts(file)));
  return el('li', null, el('div', { class: 'row' }, what, actions(file, [{ play: file.play }])));
}
const files = fileList('api/files', $('files'), $('more'), $('filesTotal'), fileLine, error => {
  $('status').textContent = error ? t('failed', { why: error.message }) : '';
  if (!error) showFolders();
}, choose);

// Folders: into a folder that the user picks, one file after another
function foldersOf(all) {
  const found = new Map();
  for (const file of all) {
    const cut = file.name.indexOf('/', at.length);
    if (cut < 0 || !file.name.startsWith(at) || !good(file.play)) continue;
    const name = file.name.slice(0, cut), folder = found.get(name) || { name, count: 0, size: 0 };
    folder.count += 1;
    folder.size += file.size || 0;
    found.set(name, folder);
  }
  return [...found.values()];
}

function folderLine(folder) {
  const name = safe(folder.name);
  const open = el('button', { type: 'button', class: 'quiet', text: t('folderOpen'), 'aria-label': t('folderOpenName', { name }), on: { click: () => { location.hash = '#d=' + encodeURIComponent(folder.name); } } });
  const count = folder.count === 1 ? t('files1') : t('filesN', { n: number(folder.count) });
  const what = el('div', { class: 'what' }, el('h3', { class: 'name' }, el('bdi', { text: name + '/' })), el('p', { class: 'facts' }, el('span', { text: count }), el('span', { text: bytes(folder.size) })));
  const button = el('button', { type: 'button', class: 'quiet get', text: t('folderGet'), 'aria-label': t('folderGetName', { name }), on: { click: () => keepFolder(folder.name) } });
  return el('li', { 'data-id': folder.name }, el('div', { class: 'row' }, what, el('div', { class: 'acts' }, open, button)));
}

function showFolders() {
  const all = foldersOf(files.all() || []);
  $('folders').hidden = !all.length && !at;
  showCrumbs();
  fill($('folderList'), all.sort((a, b) => natural(a.name, b.name)).slice(0, STEP).map(folderLine));
}

/** Every file of a folder: the list of this page may have no more than its first part. */
async function filesBelow(name) {
  const all = [];
  for (let next = ''; next !== null;) {
    const answer = await ask('api/files' + (next ? '?cursor=' + encodeURIComponent(next) : ''));
    all.push(...answer.files.filter(file => file.name.startsWith(name + '/') && good(file.play)));
    next = answer.cursor || null;
  }
  return all;
}

/** Writes a file below a folder of the user. True for a new one, false for one that is there. */
async function keepBelow(top, file) {
  const parts = file.name.split('/'), last = parts.pop();
  let place = top;
  for (const part of parts) place = await place.getDirectoryHandle(part, { create: true });
  const known = await place.getFileHandle(last).then(handle => handle.getFile()).catch(() => null);
  if (known && known.size && known.size !== file.size) throw new Error(t('folderTaken'));
  if (known && known.size) return false;
  const answer = await fetch(good(file.play), { cache: 'no-store' });
  if (!answer.ok) throw new Error(answer.status);
  // The bytes get the name when all are here.
  const handle = await place.getFileHandle(last, { create: true });
  await answer.body.pipeTo(await handle.createWritable());
  return true;
}

let keeping = false;
async function keepFolder(name) {
  if (!window.showDirectoryPicker) return tell('folderCommand', { command: `cardume get '${safe(name)}/' --from ${location.host}` });
  if (keeping) return;
  let top;
  try { top = await window.showDirectoryPicker({ mode: 'readwrite' }); } catch { return; }
  keeping = true;
  let done = 0, failed = 0;
  try {
    const all = await filesBelow(name);
    for (const file of all) {
      tell('folderBusy', { name: safe(name), i: number(done + 1), n: number(all.length) });
      try { await keepBelow(top, file); } catch { failed += 1; }
      done += 1;
    }
    tell(failed ? 'folderFailed' : 'folderDone', { name: safe(name), n: number(all.length), failed: number(failed) });
  } catch (error) { tell('failed', { why: error.message }); } finally { keeping = false; }
}

// Transfers: one by one for the owner, as numbers for others. Only the user of the peer gets its queue, and changes it.
let moving = null;

function steer(act, id) {
  ask('api/transfers', undefined, 'POST', { do: act, of: { words: [String(id)] } }).then(answer => { moving = answer; showTransfers(); }).catch(error => tell('failed', { why: error.message }));
}

function transferLine({ id, name, to, stage, done, size, rate, why }) {
  const states = { consent: t('consent'), waiting: t('waitingSlot'), stalled: t('waitingSlot'), queued: t('queued'), paused: t('paused'), failed: t('failed', { why: safe(why) }) };
  const far = size ? bytes(done) + ' / ' + bytes(size) : '';
  const facts = [to ? t('up', { peer: to.replace(/:0$/, '') }) : t('down'), states[stage], far, rate && bytes(rate) + '/s'].filter(Boolean).map(text => el('span', { text }));
  const what = el('div', { class: 'what' }, el('p', { class: 'name' }, el('bdi', { text: safe(name) })), el('p', { class: 'facts' }, ...facts));
  const acts = id ? [/paused|failed/.test(stage) ? 'resume' : 'pause', 'top', 'cancel'] : [];
  const line = el('li', { 'data-id': (id || '') + name + '|' + (to || '') }, el('div', { class: 'row' }, what, el('div', { class: 'acts' }, ...acts.map(act => el('button', { type: 'button', class: 'quiet', text: t(act), 'aria-label': t(act) + ': ' + safe(name), on: { click: () => steer(act, id) } })))));
  if (size) {
    const bar = el('progress', { max: 1000, 'aria-label': safe(name) });
    bar.value = Math.floor(1000 * done / size);
    line.append(bar);
  }
  return line;
}

function showTransfers() {
  const { uploads = 0, downloads = 0, transfers, queue } = moving || {};
  const shown = queue ? [...transfers.filter(one => one.to), ...queue.map(one => ({ ...one, stage: one.state, done: one.held }))] : transfers;
  $('moving').hidden = !(shown ? shown.length : uploads + downloads);
  fill($('transfers'), shown ? shown.map(transferLine) : [el('li', { class: 'none', text: t('others') })]);
}

// Live
let last = null, counted = -1, asking = false;
function showLive() {
  if (!last) return;
  $('nFiles').textContent = number(last.files);
  $('nUploads').textContent = number(last.uploads);
  $('nDownloads').textContent = number(last.downloads);
  $('nRate').textContent = bytes((chart.first.at(-1) || 0) + (chart.second.at(-1) || 0)) + '/s';
  draw(chart.first, chart.second, top => t('scale', { rate: bytes(Math.max(...top)) + '/s' }));
}
renderers.push(files.show, showFolders, showTransfers, showLive);

live('api/live', (now, fresh) => {
  for (const [, sent, received] of now.seconds) { keep(chart.first, sent); keep(chart.second, received); }
  last = now;
  showLive();
  if (fresh || now.files !== counted) { counted = now.files; files.load(); }
  if (!asking && !document.hidden) {
    asking = true;
    ask('api/transfers').then(answer => { moving = answer; showTransfers(); }).catch(() => {}).finally(() => { asking = false; });
  }
});
findSubtitles = async file => (file.root ? file.subtitles || (await ask('api/file?root=' + file.root)).subtitles || [] : []);

// Files for the owner
let largest = null;
function showDrop() {
  $('drop').hidden = largest === null;
  if (largest !== null) $('dropText').textContent = t('dropText', { size: bytes(largest) });
}
renderers.push(showDrop);
ask('api/drop').then(answer => { largest = answer.largest; showDrop(); }).catch(() => { /* a peer of members, for instance */ });

/** Sends the bytes of an accepted file. Unlike fetch, this tells how far they are. */
const sendFile = (ticket, file, moved) => new Promise((done, failed) => {
  const sender = new XMLHttpRequest();
  sender.open('PUT', 'api/drop/' + ticket);
  sender.responseType = 'json';
  sender.upload.onprogress = event => moved(event.loaded / (event.total || 1));
  sender.onload = () => (sender.status === 200 ? done(sender.response.name) : failed(new Error(safe(sender.response?.text || sender.status))));
  sender.onerror = () => failed(new Error(t('offline')));
  sender.send(file);
});

async function give(file) {
  const bar = el('progress', { max: 1, value: 0, 'aria-label': safe(file.name) }), said = el('p', { class: 'said' });
  $('dropList').prepend(el('li', null, el('p', { class: 'name' }, el('bdi', { text: safe(file.name) })), said, bar));
  try {
    said.textContent = t('dropAsks');
    const { ticket } = await ask('api/drop', undefined, 'POST', { name: file.name, size: file.size });
    said.textContent = t('dropSends');
    const name = await sendFile(ticket, file, part => { bar.value = part; });
    said.textContent = t('dropDone', { name: safe(name) });
  } catch (error) { said.textContent = t('failed', { why: error.message }); }
  bar.remove();
}

// One after another: the owner is asked once.
let giving = Promise.resolve();
$('dropFiles').addEventListener('change', () => {
  for (const file of $('dropFiles').files) giving = giving.then(() => give(file));
  $('dropFiles').value = '';
});

// The page of one file
let about = null;
async function showFile() {
  try { about = await ask('api/file?root=' + wanted.root); } catch (error) {
    $('fileState').textContent = error.code === 'not_found' ? t('fileGone') : t('failed', { why: error.message });
    return;
  }
  drawFile();
  preview(about, [{ play: about.play }]);
}
function drawFile() { if (about) $('fileList').replaceChildren(fileLine(about)); }
renderers.push(drawFile);
if (wanted) { $('file').hidden = false; showFile(); }
speak(lang);
