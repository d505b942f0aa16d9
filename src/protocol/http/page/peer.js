'use strict';
$('host').textContent = location.host;

// --- Files ---
function fileLine(file) {
  const what = el('div', { class: 'what' }, el('h3', { class: 'name' }, el('bdi', { text: safe(file.name) })), el('p', { class: 'facts' }, ...facts(file)));
  return el('li', null, el('div', { class: 'row' }, what, actions(file, [{ play: file.play }])));
}
const files = fileList('api/files', $('files'), $('more'), $('filesTotal'), fileLine, error => {
  $('status').textContent = error ? t('failed', { why: error.message }) : '';
  if (!error) showFolders();
});

// --- Folders: into a folder that the user picks, one file after another ---
function foldersOf(all) {
  const found = new Map();
  for (const file of all) {
    const cut = file.name.indexOf('/');
    if (cut < 0 || !good(file.play)) continue;
    const name = file.name.slice(0, cut), folder = found.get(name) || { name, count: 0, size: 0 };
    folder.count += 1;
    folder.size += file.size || 0;
    found.set(name, folder);
  }
  return [...found.values()];
}

function folderLine(folder) {
  const name = safe(folder.name);
  const count = folder.count === 1 ? t('files1') : t('filesN', { n: number(folder.count) });
  const what = el('div', { class: 'what' }, el('h3', { class: 'name' }, el('bdi', { text: name + '/' })), el('p', { class: 'facts' }, el('span', { text: count }), el('span', { text: bytes(folder.size) })));
  const button = el('button', { type: 'button', class: 'quiet get', text: t('folderGet'), 'aria-label': t('folderGetName', { name }), on: { click: () => keepFolder(folder.name) } });
  return el('li', { 'data-id': folder.name }, el('div', { class: 'row' }, what, el('div', { class: 'acts' }, button)));
}

function showFolders() {
  const all = foldersOf(files.all() || []);
  $('folders').hidden = !all.length;
  fill($('folderList'), all.slice(0, STEP).map(folderLine));
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

// --- Transfers: one by one for the owner, as numbers for others ---
let moving = null;

function transferLine(transfer) {
  const states = { consent: t('consent'), waiting: t('waitingSlot'), moving: '' };
  const far = transfer.size ? bytes(transfer.done) + ' / ' + bytes(transfer.size) : '';
  const line = el('li', { 'data-id': transfer.name + '|' + (transfer.to || '') }, el('p', { class: 'name' }, el('bdi', { text: safe(transfer.name) })),
    el('p', { class: 'facts' }, ...[transfer.to ? t('up', { peer: transfer.to.replace(/:0$/, '') }) : t('down'), states[transfer.stage], far].filter(Boolean).map(text => el('span', { text }))));
  if (transfer.size) {
    const bar = el('progress', { max: 1000, 'aria-label': safe(transfer.name) });
    bar.value = Math.floor(1000 * transfer.done / transfer.size);
    line.append(bar);
  }
  return line;
}

function showTransfers() {
  const busy = moving && moving.uploads + moving.downloads > 0 || moving && moving.transfers && moving.transfers.length;
  $('moving').hidden = !busy;
  if (busy) fill($('transfers'), moving.transfers ? moving.transfers.map(transferLine) : [el('li', { class: 'none', text: t('others') })]);
}

// --- Live ---
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
speak(lang);
