'use strict';
$('host').textContent = location.host;

// --- Files ---
function fileLine(file) {
  const what = el('div', { class: 'what' }, el('h3', { class: 'name' }, el('bdi', { text: safe(file.name) })), el('p', { class: 'facts' }, ...facts(file)));
  return el('li', null, el('div', { class: 'row' }, what, actions(file, [{ play: file.play }])));
}
const files = fileList('api/files', $('files'), $('more'), $('filesTotal'), fileLine, error => { $('status').textContent = error ? t('failed', { why: error.message }) : ''; });

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
renderers.push(files.show, showTransfers, showLive);

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
