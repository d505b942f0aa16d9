// Checks the page of one file, folders, kinds and orders with 10,000 files, and installing, in a browser.
// Usage: node files.mjs CARDUME [FOLDER FOR SCREENSHOTS]

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { axe, check, failed, finish, must, shots, starter, text } from './checks.mjs';
import { Chrome, pause } from './chrome.mjs';

const [cardume, folder] = process.argv.slice(2);
const shot = shots(folder);
const place = mkdtempSync(join(tmpdir(), 'cardume-files-'));
const env = { ...process.env, CARDUME_LANG: 'en', CARDUME_CACHE: join(place, 'cache'), XDG_STATE_HOME: join(place, 'state') };
const start = starter(cardume, env);
const MANY = 10000;
const media = 'document.querySelector("#stage")?.firstElementChild';
let chrome;

/** A short video with sound, or null where ffmpeg is missing. */
function video(path, seconds = 12) {
  return spawnSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc=size=640x360:rate=12', '-f', 'lavfi', '-i', 'sine=frequency=300', '-t', String(seconds), '-c:v', 'libvpx', '-deadline', 'realtime',
    '-cpu-used', '8', '-b:v', '300k', '-c:a', 'libvorbis', path]).status === 0;
}

const PICTURE = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg==', 'base64');

try {
  const [some, many] = ['some', 'many'].map(name => join(place, name));
  for (const below of ['', 'Dark', 'Dark/S01']) mkdirSync(join(some, below), { recursive: true });
  mkdirSync(many);
  const isVideo = video(join(some, 'Dark', 'film ç.webm'));
  writeFileSync(join(some, 'Dark', 'S01', 'notes.txt'), 'first line\n<b>second</b>\u202e line\n' + 'x'.repeat(70000));
  writeFileSync(join(some, 'Dark', 'film ç.pt.srt'), Buffer.from('1\r\n00:00:01,000 --> 00:00:02,000\r\nfirst\r\n\r\n2\r\n00:00:02,500 --> 00:00:03,000\r\n\u00e9 <b>bold</b>\r\n', 'latin1'));
  writeFileSync(join(some, 'dot.png'), PICTURE);
  writeFileSync(join(some, 'Dark', 'plain.bin'), 'abc');
  for (let n = 0; n < MANY; n++) writeFileSync(join(many, `item ${n}.${n % 100 ? 'bin' : 'mp3'}`), Buffer.alloc(n ? 100 + n % 97 + (n === 4321 ? 5000 : 0) : 90, `${n}`));

  const server = await start('server', '--listen', '127.0.0.1:0');
  const peer = (folder, more = []) => start('peer', '--server', server.at, '--listen', '127.0.0.1:0', '--folder', folder, ...more);
  const [shelf, heap] = [await peer(some, ['-r']), await peer(many)];
  const site = `http://${server.at}/`;
  const found = async q => (await (await fetch(`${site}api/search?q=${encodeURIComponent(q)}`)).json()).holders;
  const hashed = async (q, n) => { for (let wait = 0; ; wait++) { const list = await found(q); if (list.length >= n && list.every(h => h.root)) return list; must(wait < 300, `${q} is not there`); await pause(100); } };
  const root = async q => (await hashed(q, 1))[0].root;
  chrome = new Chrome(process.env.CHROMIUM || 'chromium');
  const { script, faults } = axe(place);
  if (!script) console.log('note  axe-core can not be had here: its checks are left out');

  // --- One file ---
  const film = isVideo ? await root('webm') : null;
  if (!isVideo) console.log('note  ffmpeg can not be used here: the checks of videos are left out');
  else await check('a result leads to the page of its file, with a preview that waits', async () => {
    const page = await chrome.page(`${site}#q=webm`);
    await page.until('document.querySelector("#results h3 a")');
    await page.run('document.querySelector("#results h3 a").focus()');
    await page.key('Enter');
    await page.until(`location.pathname === "/f/${film}/film%20%C3%A7.webm" && ${media}?.readyState >= 1`, 20000);
    await page.until(`performance.getEntriesByType("resource").some(e => e.name === ${media}.poster && e.name.endsWith(${JSON.stringify('/poster/' + film)}) && e.responseEnd)`, 20000);
    must(await page.run(`${media}.paused && ${media}.preload === "metadata" && ${media}.duration > 11`), 'it plays, or has no length');
    const line = await page.run('document.querySelector("#fileList > li").innerText');
    for (const word of ['film ç.webm', 'KiB', shelf.at, 'b3:' + film]) must(line.includes(word), `no ${word}: ${line}`);
    must((await page.run('document.title')).startsWith('film ç.webm'), 'no title');
    await shot(page, 'file');
    if (script) await faults(page, 'the page of one file');
    // A search leaves the page of the file, by the same address of the server.
    await page.run('document.querySelector("#q").focus()');
    await page.type('dot');
    await page.until('document.querySelectorAll("#results > li").length === 1 && document.querySelector("#file").hidden');
    must(await page.run(`location.href === ${JSON.stringify(site + '#q=dot')}`), await page.run('location.href'));
    must(!page.complaints.length, page.complaints.join('; '));
    await page.close();
  });
  await check('a picture and a text are shown, and a text names the page of its peer', async () => {
    const [picture, notes] = [await root('dot'), await root('notes')];
    const page = await chrome.page(`${site}f/${picture}/dot.png`);
    await page.until(`${media}?.tagName === "IMG" && ${media}.naturalWidth === 1`);
    await page.go(`${site}f/${notes}/notes.txt`);
    await page.until('document.querySelector("#fileState a")');
    await page.run('document.querySelector("#fileState a").click()');
    await page.until(`location.host === ${JSON.stringify(shelf.at)} && document.querySelector("#stage pre")`);
    const said = await page.run('document.querySelector("#stage pre").textContent');
    must(said.startsWith('first line\n<b>second</b>⟨U+202E⟩ line\nxxx') && said.length < 65536 + 10, said.slice(0, 60));
    must((await page.run(text('from'))).includes('64 KiB'), 'no word of the cut');
    must((await page.run('document.querySelector("#fileList .get").href')).endsWith('/files/Dark/S01/notes.txt?download'), 'no download');
    await page.go(`${site}f/${'0'.repeat(64)}/nothing`);
    await page.until('document.querySelector("#fileList .none")');
    must(!page.complaints.length, page.complaints.join('; '));
    await page.close();
  });

  if (isVideo) await check('a peer tells duration, resolution and codecs, and shows the subtitles beside the video', async () => {
    const page = await chrome.page(`http://${shelf.at}/f/${film}/film`);
    await page.until(`${media}?.readyState >= 1 && document.querySelector("#stage track")`, 20000);
    const line = await page.run('document.querySelector("#fileList > li").innerText');
    must(await page.run(`fetch(${media}.poster).then(async answer => answer.ok && (await answer.blob()).type === "image/jpeg")`), 'no picture');
    for (const word of ['0:12', '640 × 360', 'VP8, Vorbis']) must(line.includes(word), `no ${word}: ${line}`);
    await page.run('document.querySelector("#stage track").track.mode = "showing"');
    await page.until('document.querySelector("#stage track").track.cues?.length === 2');
    const cue = await page.run('(({ text, startTime }) => [text, startTime])(document.querySelector("#stage track").track.cues[1])');
    must(cue[0] === 'é <b>bold</b>' && cue[1] === 2.5, JSON.stringify(cue));
    must(await page.run('document.querySelector("#stage track").srclang') === 'pt', 'another language');
    await shot(page, 'peer-file');
    if (script) await faults(page, 'a video on a peer');
    must(!page.complaints.length, page.complaints.join('; '));
    await page.close();
  });

  // --- Folders ---
  const own = await chrome.page(`http://${shelf.at}/`);
  const lines = of => `[...document.querySelectorAll("#${of} > li h3")].map(e => e.textContent).join()`;
  await check('folders open, one below the other, and the way back is the button of the browser', async () => {
    await own.until(`${lines('folderList')} === "Dark/"`);
    await own.run('document.querySelector("#folderList button").focus()');
    await own.key('Enter');
    await own.until(`${lines('folderList')} === "Dark/S01/"`);
    must(!(await own.run(lines('files'))).includes('S01'), 'files of subfolders are shown');
    must(await own.run('document.querySelector("#crumbs").contains(document.activeElement)'), 'the focus is lost');
    await own.run('document.querySelector("#folderList button").click()');
    await own.until(`${lines('files')} === "Dark/S01/notes.txt"`);
    must((await own.run(text('crumbs'))) === 'All filesDarkS01', await own.run(text('crumbs')));
    if (script) await faults(own, 'a folder');
    await own.run('history.back()');
    await own.until(`${lines('folderList')} === "Dark/S01/"`);
    await own.run('document.querySelector("#crumbs a").click()');
    await own.until(`${lines('folderList')} === "Dark/" && document.querySelector("#crumbs").hidden`);
  });
  await check('the peer page was silent', () => must(!own.complaints.length, own.complaints.join('; ')));
  await own.close();

  // --- 10,000 files ---
  const choose = (page, list, value) => page.run(`(() => { const e = document.getElementById(${JSON.stringify(list)}); e.value = ${JSON.stringify(value)}; e.dispatchEvent(new Event("change")); })()`);
  await check('10,000 results: sorted and filtered by the server', async () => {
    for (let wait = 0; (await (await fetch(`${site}api/peers`)).json()).peers.reduce((sum, p) => sum + p.files, 0) < MANY; wait++) { must(wait < 300, 'the files are not there'); await pause(100); }
    const page = await chrome.page(`${site}#q=item`);
    const begun = Date.now();
    await page.until('document.querySelectorAll("#results > li").length === 30');
    const first = Date.now() - begun;
    await choose(page, 'sort', '-size');
    await page.until('document.querySelector("#results h3")?.textContent === "item 4321.bin"');
    await choose(page, 'sort', 'size');
    await page.until('document.querySelector("#results h3")?.textContent === "item 0.mp3"');
    await choose(page, 'kind', 'audio');
    await page.until(`${text('status')}.startsWith("100 files found")`);
    await choose(page, 'sort', 'name');
    await page.until('document.querySelectorAll("#results h3")[1]?.textContent === "item 100.mp3"');
    await choose(page, 'kind', '');
    await page.until(`${text('status')}.includes("and there are more")`, 30000);
    // Every result can be reached: a thousand at a time.
    await page.run('search.shown = 9990; document.querySelector("#more").click()');
    for (let wait = 0; await page.run('search.groups.size') < MANY; wait++) { must(wait < 400, `${await page.run('search.groups.size')} results`); await page.run('if (search.done) document.querySelector("#more").click()'); await pause(100); }
    await page.until(`document.querySelectorAll("#results > li").length === ${MANY}`, 60000);
    const shown = await page.run('(() => { const from = performance.now(); show(); return Math.round(performance.now() - from); })()');
    must(!page.complaints.length, page.complaints.join('; '));
    await page.close();
    return `first ${first} ms; all ${MANY} shown again in ${shown} ms`;
  });
  await check('10,000 files of a peer: sorted and filtered in the page', async () => {
    const page = await chrome.page(`http://${heap.at}/`);
    await page.until(`${text('filesTotal')}.startsWith("10,000 files")`, 60000);
    await choose(page, 'sort', '-size');
    must(await page.run('document.querySelector("#files h3").textContent') === 'item 4321.bin', 'not the largest');
    await page.run('document.querySelector("#filter").focus()');
    await page.type('item 99');
    await page.until(`${text('filesTotal')}.startsWith("${[...Array(MANY).keys()].filter(n => String(n).includes('99')).length} files")`);
    await choose(page, 'kind', 'audio');
    await page.until(`${lines('files')} === "item 9900.mp3"`);
    await choose(page, 'kind', '');
    await page.run('document.querySelector("#filter").value = ""');
    const took = await page.run('(() => { const from = performance.now(); files.again(); return Math.round(performance.now() - from); })()');
    must(took < 2000, `${took} ms for a new order`);
    for (const width of [390, 320]) {
      await page.view({ width, height: 780, mobile: true, dark: true });
      await pause(200);
      must(await page.run('document.documentElement.scrollWidth <= innerWidth'), `too wide at ${width}`);
    }
    if (script) await faults(page, 'a peer with many files');
    await shot(page, 'phone-files');
    must(!page.complaints.length, page.complaints.join('; '));
    await page.close();
    return `a new order in ${took} ms`;
  });

  // --- Files for the owner ---
  await check('a phone gives files to the owner of a peer', async () => {
    const [into, from] = [join(place, 'into'), join(place, 'from')];
    mkdirSync(into); mkdirSync(from);
    const names = ['photo \u00e7.jpg', 'large.bin'];
    writeFileSync(join(from, names[0]), PICTURE);
    writeFileSync(join(from, names[1]), Buffer.alloc(3000000, 'large'));
    const taker = await peer(some, ['--drop', into, '--drop-accept', 'always', '--drop-largest', '5MiB']);
    const page = await chrome.page(`http://${taker.at}/`, { width: 390, height: 780, mobile: true, dark: true });
    await page.until('!document.querySelector("#drop").hidden');
    must((await page.run(text('dropText'))).includes('5 MiB'), await page.run(text('dropText')));
    const { root: { nodeId } } = await page.send('DOM.getDocument');
    const input = await page.send('DOM.querySelector', { nodeId, selector: '#dropFiles' });
    await page.send('DOM.setFileInputFiles', { nodeId: input.nodeId, files: names.map(name => join(from, name)) });
    await page.until('[...document.querySelectorAll("#dropList .said")].filter(e => e.textContent.startsWith("The owner has it")).length === 2', 20000);
    for (const name of names) must(readFileSync(join(into, name)).equals(readFileSync(join(from, name))), `${name} has other bytes`);
    // Names and refusals of the peer are text.
    await page.run('give(new File(["x"], ".hidden"))');
    await page.until('document.querySelector("#dropList .said").textContent.includes("begin with a dot")');
    page.complaints = page.complaints.filter(text => !text.startsWith('network:'));
    for (const width of [390, 320]) {
      await page.view({ width, height: 780, mobile: true, dark: true });
      await pause(200);
      must(await page.run('document.documentElement.scrollWidth <= innerWidth'), `too wide at ${width}`);
    }
    if (script) await faults(page, 'a drop folder');
    await page.run('document.querySelector("#drop").scrollIntoView()');
    await shot(page, 'phone-drop');
    must(!page.complaints.length, page.complaints.join('; '));
    await page.close();
    const other = await chrome.page(`http://${shelf.at}/`);
    await pause(300);
    must(await other.run('document.querySelector("#drop").hidden'), 'a peer without such a folder has the form');
    await other.close();
  });

  // --- Installing ---
  await check('a browser can install both pages, and finds their icons', async () => {
    for (const url of [site, `http://${shelf.at}/`]) {
      const page = await chrome.page(url);
      const { errors, url: manifest } = await page.send('Page.getAppManifest');
      must(manifest === url + 'app.webmanifest' && !errors.length, JSON.stringify({ manifest, errors }));
      const { installabilityErrors } = await page.send('Page.getInstallabilityErrors');
      const faults = installabilityErrors.map(e => e.errorId).filter(id => id !== 'in-incognito');
      must(!faults.length, faults.join());
      must(!page.complaints.length, page.complaints.join('; '));
      await page.close();
    }
  });
  await check('on a slow network the page says that it searches, and then finds', async () => {
    const page = await chrome.page('about:blank');
    await page.send('Network.emulateNetworkConditions', { offline: false, latency: 600, downloadThroughput: 50 * 1024, uploadThroughput: 20 * 1024 });
    await page.go(site);
    await page.run('document.querySelector("#q").focus()');
    await page.type('dot');
    await page.until(`${text('status')} === "Searching…"`, 5000);
    await page.until(`${text('status')}.startsWith("1 file found")`, 20000);
    must(!page.complaints.length, page.complaints.join('; '));
    await page.close();
  });
} catch (error) {
  failed(error);
} finally {
  await finish(chrome, place);
}
