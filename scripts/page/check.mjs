// Checks the pages of a server and of peers in a browser. Prints one line for each check.
// Usage: node check.mjs CARDUME [FOLDER FOR SCREENSHOTS]

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer, get, request } from 'node:http';
import { createServer as listen } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { axe, check, failed, finish, must, running, shots, starter, text } from './checks.mjs';
import { Chrome, pause } from './chrome.mjs';

const [cardume, folder] = process.argv.slice(2);
const shot = shots(folder);
const place = mkdtempSync(join(tmpdir(), 'cardume-page-'));
const env = { ...process.env, CARDUME_LANG: 'en', CARDUME_CACHE: join(place, 'cache'), XDG_STATE_HOME: join(place, 'state') };

const start = starter(cardume, env);

/** Sound without anything but this file: a tone, as WAV. */
function tone(seconds) {
  const rate = 48000, data = Buffer.alloc(rate * 2 * 2 * seconds);
  for (let i = 0; i < rate * seconds; i++) {
    const value = Math.round(9000 * Math.sin(i * (0.05 + i / (rate * seconds * 40))));
    data.writeInt16LE(value, i * 4);
    data.writeInt16LE(value, i * 4 + 2);
  }
  const head = Buffer.alloc(44);
  head.write('RIFF', 0); head.writeUInt32LE(36 + data.length, 4); head.write('WAVEfmt ', 8); head.writeUInt32LE(16, 16); head.writeUInt16LE(1, 20); head.writeUInt16LE(2, 22);
  head.writeUInt32LE(rate, 24); head.writeUInt32LE(rate * 4, 28); head.writeUInt16LE(4, 32); head.writeUInt16LE(16, 34); head.write('data', 36); head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}

/** A video whose bytes do not shrink, so that no browser has all of it at once. */
function video(path) {
  return spawnSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc=size=320x180:rate=12,noise=alls=60:allf=t', '-t', '60', '-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8',
    '-b:v', '2500k', '-g', '24', path]).status === 0;
}

/** A proxy on this machine that puts a site below a path, as nginx does with `location /below/ { proxy_pass http://SITE/; }`. */
function proxy(at, below) {
  const [host, port] = at.split(':');
  const server = createServer((asked, answer) => {
    if (!asked.url.startsWith(below)) { answer.writeHead(404).end(); return; }
    const on = request({ host, port, method: asked.method, path: '/' + asked.url.slice(below.length), headers: { ...asked.headers, host: at, 'x-forwarded-for': '192.0.2.1' } },
      said => { answer.writeHead(said.statusCode, said.headers); said.pipe(answer); answer.on('close', () => said.destroy()); });
    on.on('error', () => answer.destroy());
    asked.pipe(on);
  });
  return new Promise(done => server.listen(0, '127.0.0.1', () => done({ server, url: `http://127.0.0.1:${server.address().port}${below}` })));
}

const nginxIsThere = () => spawnSync('nginx', ['-v']).status === 0;

/** A port that nothing listens on at this moment. */
const freePort = () => new Promise(done => { const probe = listen().listen(0, '127.0.0.1', () => { const { port } = probe.address(); probe.close(() => done(port)); }); });

/** An nginx of this check alone, with the sites below their paths: `{ '/path/': '127.0.0.1:7000' }`. Another program may take the port first, so that it is tried again. */
async function nginx(sites, more = '') {
  const home = mkdtempSync(join(place, 'nginx-'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(kind => `${kind}_temp_path ${join(home, kind)};`).join(' ');
  for (let attempt = 0; ; attempt++) {
    const port = await freePort(), own = `http://127.0.0.1:${port}`;
    const locations = Object.entries(sites).map(([path, at]) =>
      `location ${path} { proxy_pass http://${at}/; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; ${more} }`).join('\n');
    writeFileSync(join(home, 'nginx.conf'), `daemon off; master_process off; pid ${join(home, 'pid')}; error_log stderr;
      events {}
      http { access_log off; ${temporary}
        server { listen 127.0.0.1:${port}; location = /ready { return 204; }
          ${locations} } }`);
    const program = spawn('nginx', ['-p', home, '-e', 'stderr', '-c', join(home, 'nginx.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
    running.push(program);
    let said = '', ended = false;
    program.stderr.on('data', bytes => { said += bytes; });
    program.once('exit', () => { ended = true; });
    while (!ended) {
      if (await fetch(`${own}/ready`).then(answer => answer.status === 204, () => false)) return { own, end: () => program.kill('SIGKILL') };
      await pause(50);
    }
    must(attempt < 3, `nginx ended: ${said}`);
  }
}

/** An answer with its headers, by the very target that is named: fetch would write it anew. */
const plain = (url, target, headers = {}) => new Promise((done, failed) => {
  const { hostname, port } = new URL(url);
  get({ hostname, port, path: target, headers }, answer => {
    const parts = [];
    answer.on('data', bytes => parts.push(bytes)).on('end', () => done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) })).on('error', failed);
  }).on('error', failed);
});

const HOSTILE = ['<img src=x onerror=alert(1)>.mp4', '"onmouseover="alert(2)" \'x\' hostile.mp4', '<svg onload=alert(3)> &lt;b&gt; hostile.wav'];
let chrome;

try {
  const [one, two, three] = ['one', 'two', 'three'].map(name => join(place, name));
  for (const folder of [one, two, three]) mkdirSync(folder);
  writeFileSync(join(three, 'consent.wav'), tone(3));
  const clip = join(one, 'aula 1 ç.webm'), isVideo = video(clip);
  const film = isVideo ? 'aula 1 ç.webm' : 'aula 1 ç.wav';
  if (!isVideo) { console.log('note  ffmpeg can not be used here: sound is played instead of a video'); writeFileSync(join(one, film), tone(60)); }
  writeFileSync(join(two, film), isVideo ? (await import('node:fs')).readFileSync(clip) : tone(60));
  writeFileSync(join(one, 'tone.wav'), tone(2));
  ['part 10.txt', 'part 2.txt', 'part', 'the part before.txt', 'part 1.txt'].forEach((name, i) => writeFileSync(join(one, name), `part ${i}`));
  for (const [folder, name] of [[one, 'twin left.bin'], [one, 'twin right.bin'], [two, 'twin right.bin']]) writeFileSync(join(folder, name), Buffer.alloc(5000, 'twin'));
  for (const folder of [one, two]) writeFileSync(join(folder, 'shared by two.bin'), Buffer.alloc(300000, 'two'));
  for (const name of HOSTILE) writeFileSync(join(one, name), name);
  writeFileSync(join(one, 'safe\u202egpj.exe'), 'x');
  for (let n = 0; n < 45; n++) writeFileSync(join(two, `lesson-${String(n).padStart(2, '0')}-of-a-course-with-a-long-name.pdf`), `lesson ${n}`);
  writeFileSync(join(two, 'x'.repeat(200) + '.txt'), 'long');

  const server = await start('server', '--listen', '127.0.0.1:0');
  const peer = (folder, more = []) => start('peer', '--server', server.at, '--listen', '127.0.0.1:0', '--folder', folder, '--upload-limit', '700KiB', ...more);
  const [first, second, third] = [await peer(one), await peer(two), await peer(three, ['--accept', 'ask', '--user', 'berta', '--key', join(place, 'key')])];
  const site = `http://${server.at}/`;
  const found = async q => (await (await fetch(`${site}api/search?q=${encodeURIComponent(q)}`)).json()).holders;
  for (let wait = 0; (await found('aula 1')).filter(h => h.root).length < 2; wait++) { must(wait < 300, 'the peers are not there'); await pause(100); }

  chrome = new Chrome(process.env.CHROMIUM || 'chromium');
  const page = await chrome.page(site);

  await check('the page weighs less than 90 KB in all', async () => {
    await pause(300);
    const all = [...page.bytes.values()].reduce((a, b) => a + b, 0);
    must(all > 5000 && all < 90000, `${all} bytes`);
    return `${all} bytes`;
  });
  await check('the search field has the focus by Tab, and a label', async () => {
    await page.key('Tab');
    must(await page.run('document.activeElement.className === "skip"'), 'Tab does not lead to the link to the search first');
    await page.key('Enter');
    await page.until('document.activeElement.id === "q"');
    must(await page.run('document.querySelector("#q").labels[0].textContent.length > 3'), 'no label');
  });
  await check('what is typed is found while it is typed', async () => {
    await page.type('aula');
    await page.until('document.querySelectorAll("#results > li").length === 1');
    const line = await page.run('document.querySelector("#results > li").innerText');
    must(line.includes(film) && line.includes('2 peers have it') && line.includes('hash known') && line.includes('MiB'), line);
    await page.until(`${text('status')}.includes("1 file found")`);
    await shot(page, 'search-light');
  });
  const media = 'document.querySelector("#stage").firstElementChild';
  await check('Enter on Play plays, and time goes on', async () => {
    for (let i = 0; i < 12 && !await page.run('document.activeElement.classList.contains("play")'); i++) await page.key('Tab');
    must(await page.run('document.activeElement.classList.contains("play")'), 'Tab does not lead to Play');
    await page.key('Enter');
    await page.until(`${media} && ${media}.currentTime > 0.7`, 20000);
    must((await page.run(text('from'))).includes('1 of 2'), await page.run(text('from')));
    await shot(page, 'play-light');
  });
  await check('seeking lands where it is asked to, by Range', async () => {
    await page.run(`${media}.currentTime = 20`);
    await page.until(`${media}.currentTime > 20.3 && ${media}.readyState >= 3`, 20000);
  });
  await check('live counters show the transfer', async () => { await page.until('Number(document.querySelector("#nUploads").textContent) >= 1', 8000); });
  await check('the next peer goes on where the first one died', async () => {
    const now = await page.run(text('from'));
    const dies = now.includes(first.at) ? first : second, other = dies === first ? second : first;
    must(now.includes(dies.at), now);
    const at = await page.run(`${media}.currentTime`);
    dies.program.removeAllListeners('exit');
    dies.program.kill('SIGKILL');
    await page.until(`document.querySelector("#from").textContent.includes(${JSON.stringify(other.at)})`, 60000);
    const said = await page.run(text('from'));
    await page.until(`${media}.readyState >= 3 && !${media}.error && ${media}.currentTime > ${at} + 1`, 60000);
    const end = await page.run(`${media}.currentTime`);
    const again = await peer(dies === first ? one : two);
    Object.assign(dies, again);
    return `from ${at.toFixed(1)} s on; ${said}; at ${end.toFixed(1)} s now`;
  });
  await check('Escape closes the player and the focus comes back', async () => {
    await page.key('Escape');
    await page.until('document.querySelector("#player").hidden && document.activeElement.classList.contains("play")');
  });
  // The browser logs a dead peer itself; that is no fault of the page.
  page.complaints = page.complaints.filter(text => !text.startsWith('network:'));
  for (let wait = 0; (await found('alert')).filter(h => h.root).length < 3; wait++) { must(wait < 300, 'the peer is not back'); await pause(100); }
  const search = async q => { await page.run(`document.querySelector("#q").value = ""; document.querySelector("#q").focus()`); await page.type(q); };
  await check('names that look like markup are text', async () => {
    await search('alert');
    await page.until('document.querySelectorAll("#results > li").length === 3');
    const shown = await page.run('[...document.querySelectorAll("#results h3")].map(e => e.textContent)');
    for (const name of HOSTILE) must(shown.includes(name), `${name} is not among ${shown}`);
    must(await page.run('!document.querySelector("main img, main script, [onmouseover], svg[onload]")'), 'an element was injected');
    for (const line of ['details summary', 'details']) await page.run(`document.querySelectorAll("#results ${line}").forEach(e => { e.open = true })`);
    await shot(page, 'hostile');
  });
  await check('a name that turns its direction is not even in the index', async () => {
    await search('gpj');
    await page.until(`${text('status')}.includes("Nothing found")`);
  });
  await check('a script of a stranger would not run', async () => {
    const ran = await page.run('new Promise(done => { const s = document.createElement("script"); s.textContent = "window.ran = 1"; document.body.append(s); const b = document.createElement("b"); b.setAttribute("onclick", "window.ran = 1"); document.body.append(b); b.click(); setTimeout(() => done(window.ran), 50) })');
    must(ran === undefined, 'it ran');
    const blocked = page.complaints.filter(text => text.includes('Content Security Policy') || text.includes('security:'));
    must(blocked.length > 0, 'nobody complained');
    page.complaints = page.complaints.filter(text => !blocked.includes(text));
  });
  await check('sound plays too', async () => {
    await search('tone');
    await page.until('document.querySelector("#results h3")?.textContent === "tone.wav"');
    await page.run('document.querySelector("#results .play").click()');
    await page.until(`${media} && ${media}.tagName === "AUDIO" && ${media}.currentTime > 0.3`);
    await page.run('document.querySelector("#close").click()');
  });
  await check('who has to ask a person first is waited for, and that is said', async () => {
    await search('consent');
    await page.until('[...document.querySelectorAll("#results h3")].map(e => e.textContent).join() === "consent.wav"');
    await page.run('document.querySelector("#results .play").click()');
    await page.until(`${text('from')}.includes("say yes")`);
    await shot(page, 'waiting');
    third.program.stdin.write('SIM\n');
    await page.until(`${media}.currentTime > 0.3`);
    must(await page.run(`${text('from')}.startsWith("From ")`), 'it still says that it waits');
    await page.run('document.querySelector("#close").click()');
  });
  await check('Download keeps the file rather than showing it', async () => {
    const href = await page.run('document.querySelector("#results .get").href');
    const answer = await fetch(href);
    must(answer.headers.get('content-disposition')?.startsWith('attachment') && (await answer.arrayBuffer()).byteLength > 1000, href);
  });
  await check('more results come by the button, and the focus goes to them', async () => {
    await search('lesson');
    await page.until('document.querySelectorAll("#results > li").length === 30 && !document.querySelector("#more").hidden');
    await page.run('document.querySelector("#more").focus()');
    await page.key('Enter');
    await page.until('document.querySelectorAll("#results > li").length === 45 && document.querySelector("#more").hidden');
    must(await page.run('document.querySelector("#results").children[30].contains(document.activeElement)'), 'the focus is lost');
  });
  await check('who is online, with what', async () => {
    await page.until('document.querySelectorAll("#peers > li").length === 3');
    await page.run('document.querySelector("#peers summary").click()');
    await page.until('document.querySelectorAll("#peers details[open] li").length > 3');
    must(Number(await page.run(text('nPeers'))) === 3, 'the counter');
  });
  await check('three languages, by the browser and by a button', async () => {
    must(await page.run('document.documentElement.lang === "en"'), 'not English');
    for (const [code, word] of [['pt', 'Buscar arquivos'], ['es', 'Buscar archivos']]) {
      await page.run(`document.querySelector("[data-lang=${code}]").click()`);
      must(await page.run(`document.querySelector("label").textContent === "${word}" && document.documentElement.lang.startsWith("${code}")`), code);
    }
    must(await page.run('Object.values(WORDS).every(w => Object.keys(w).join() === Object.keys(WORDS.en).join() || Object.keys(WORDS.en).every(k => k in w))'), 'a word is missing');
    await page.run('localStorage.clear()');
    const other = await chrome.page(site, { language: 'es-AR' });
    must(await other.run('document.documentElement.lang === "es"'), 'the browser asked for Spanish');
    await other.close();
    await page.run('document.querySelector("[data-lang=en]").click()');
  });
  await check('everything that can be used has a name for those who do not see it', async () => {
    await page.send('Accessibility.enable');
    const { nodes } = await page.send('Accessibility.getFullAXTree');
    const nameless = nodes.filter(node => !node.ignored && ['button', 'link', 'searchbox', 'textbox', 'image', 'progressbar', 'region', 'navigation'].includes(node.role?.value) && !node.name?.value);
    must(!nameless.length, nameless.map(node => node.role.value).join());
    await page.send('Accessibility.disable');
  });
  await check('a phone needs no scrolling to the side', async () => {
    await search('x');
    for (const width of [320, 360, 412]) {
      await page.view({ width, height: 780, mobile: true });
      await page.run('document.querySelectorAll("details").forEach(e => { e.open = true })');
      await pause(200);
      const over = await page.run('document.documentElement.scrollWidth - innerWidth');
      must(over <= 0, `${over} pixels too wide at ${width}`);
    }
    await page.run('document.querySelectorAll("details").forEach(e => { e.open = false })');
    await search('aula');
    await pause(400);
    await shot(page, 'phone');
    await page.view({ width: 360, height: 780, mobile: true, dark: true });
    await page.run('scrollTo(0, document.querySelector(".live").offsetTop)');
    await pause(200);
    await shot(page, 'phone-dark-live');
  });
  await page.run('scrollTo(0, 0)');
  await page.view({ width: 1100, height: 900 });
  const names = 'JSON.stringify([...document.querySelectorAll("#results h3")].map(e => e.textContent))';
  await check('the very name comes first, and 2 before 10', async () => {
    await search('part');
    await page.until(`${names} === ${JSON.stringify(JSON.stringify(['part', 'part 1.txt', 'part 2.txt', 'part 10.txt', 'the part before.txt']))}`);
    await page.until(`${text('status')}.startsWith("5 files found. 30 B")`);
  });
  await check('a content is found by its hash, typing errors are forgiven, users are found', async () => {
    const [{ root }] = await found('tone');
    for (const q of ['b3:' + root, root.toUpperCase()]) {
      await search(q);
      await page.until(`${names} === '["tone.wav"]'`);
    }
    await search('b3:12');
    await page.until(`${text('status')}.includes("64 digits")`);
    await search('consemt.wav');
    await page.until(`${names} === '["consent.wav"]' && ${text('status')}.includes("Similar names")`);
    for (const q of ['@berta', 'berta', 'BERT']) {
      await search(q);
      await page.until(`${names} === '["consent.wav"]' && !${text('status')}.includes("Similar")`);
    }
  });
  const lines = 'JSON.stringify([...document.querySelectorAll("#results > li")].map(li => [li.querySelector("h3").textContent, [...li.querySelectorAll(".facts > span")].map(e => e.textContent).filter(text => /peer|other names/.test(text)).join(", ")]))';
  await check('a content with two names is a result for each name that matches, with the peers that have it so', async () => {
    const both = [['twin left.bin', '1 peer has it, 1 more under other names'], ['twin right.bin', '2 peers have it']];
    await search('twin');
    await page.until(`${lines} === ${JSON.stringify(JSON.stringify(both))}`);
    await page.until(`${text('status')}.startsWith("2 files found. 4.9 KiB")`);
    const gives = await page.run('[...document.querySelector("#results > li").querySelectorAll(".holder")].map(li => li.textContent)');
    must(gives.length === 2 && gives[0].includes(first.at) && gives[0].includes('twin left.bin') && gives[1].includes(second.at) && gives[1].includes('twin right.bin'), gives.join(' / '));
    must((await page.run('document.querySelector("#results .get").href')).includes('twin%20left.bin'), 'the download is of another name');
    for (const [name, peers] of [['twin left', '1 peer has it'], ['twin right', '2 peers have it']]) {
      await search(name);
      await page.until(`${lines} === ${JSON.stringify(JSON.stringify([[`${name}.bin`, peers]]))}`);
    }
  });
  const publish = (user, name, said) => {
    const done = spawnSync(cardume, ['publish', '--user', user, name, said, '--server', server.at], { env: { ...env, CARDUME_KEY: join(place, `key of ${user}`) } });
    must(done.status === 0, String(done.stderr));
  };
  await check('a published file is shown while its user is away, as that, and without buttons', async () => {
    publish('dora', 'lost song.wav', 'sung in <b>1999</b>');
    publish('dora', 'tone.wav', 'another one');
    for (const q of ['lost song.wav', '1999', '@dora', 'lots song']) {
      await search(q);
      await page.until('[...document.querySelectorAll("#results > li.away h3")].some(e => e.textContent === "lost song.wav")');
    }
    await search('lost song');
    await page.until(`${names} === '["lost song.wav"]'`);
    const line = await page.run('document.querySelector("#results > li").innerText');
    for (const word of ['away', 'dora is not online', 'sung in <b>1999</b>']) must(line.includes(word), `no "${word}": ${line}`);
    must(await page.run('!document.querySelector("#results a, #results button, #results summary, #results b")'), 'it has something to press');
    await page.until(`${text('status')} === "1 file found."`);
    await shot(page, 'away');
    // A name with a connected peer is listed first.
    await search('tone.wav');
    await page.until(`${names} === '["tone.wav","tone.wav"]'`);
    must(await page.run('document.querySelector("#results > li .play") && document.querySelector("#results > li:last-child").className === "away"'), 'the one that is away goes first');
    // The file is available again once a peer of its user joins.
    const four = join(place, 'four');
    mkdirSync(four);
    writeFileSync(join(four, 'lost song.wav'), tone(1));
    await search('lost song');
    await page.until('document.querySelectorAll("#results > li.away").length === 1');
    const dora = await peer(four, ['--user', 'dora', '--key', join(place, 'key of dora')]);
    await page.until('document.querySelectorAll("#results > li").length === 1 && document.querySelector("#results > li:not(.away) .play")', 20000);
    must((await page.run('document.querySelector("#results > li").innerText')).includes('sung in <b>1999</b>'), 'no description');
    dora.program.removeAllListeners('exit');
    dora.program.kill('SIGTERM');
    await page.until('document.querySelectorAll("#results > li.away").length === 1', 20000);
    await page.until('document.querySelectorAll("#peers > li").length === 3');
  });
  await check('what was shown, opened and focused stays when the lists change', async () => {
    await search('lesson');
    await page.until('document.querySelectorAll("#results > li").length === 30');
    await page.run('document.querySelector("#more").click()');
    await page.until('document.querySelectorAll("#results > li").length >= 45');
    const line = 'document.querySelectorAll("#results > li")[40]';
    await page.run(`${line}.querySelector("summary").click(); ${line}.querySelector(".get").focus()`);
    const name = await page.run('document.activeElement.getAttribute("aria-label")');
    const opened = `[...document.querySelectorAll("#peers > li")].find(li => li.innerText.includes("${second.at}"))`;
    if (!await page.run(`${opened}.querySelector("details").open`)) await page.run(`${opened}.querySelector("summary").click()`);
    await page.until(`${opened}.querySelectorAll("details li").length > 45`);
    writeFileSync(join(two, 'lesson-100.pdf'), 'one more');
    writeFileSync(join(one, 'lesson-40-of-a-course-with-a-long-name.pdf'), 'lesson 40');
    await page.until('document.querySelectorAll("#results > li").length === 46 && [...document.querySelectorAll("#results > li")].some(li => li.innerText.includes("lesson-40") && li.innerText.includes("2 peers"))', 20000);
    must(await page.run(`document.activeElement.getAttribute("aria-label") === ${JSON.stringify(name)}`), 'the focus is lost');
    must(await page.run('document.querySelectorAll("#results details[open]").length === 1'), 'what was open is closed');
    await page.until(`${opened}.querySelector("details").open && ${opened}.querySelectorAll("details li").length > 46`);
    const listed = await page.run(`[...${opened}.querySelectorAll("details li bdi")].map(e => e.textContent)`);
    must(JSON.stringify(listed) === JSON.stringify([...listed].sort(new Intl.Collator('en', { numeric: true }).compare)), `not in order: ${listed}`);
    must((await page.run(`${opened}.querySelector(".total").textContent`)).includes('files · '), 'no total');
  });
  await check('a download goes on with the next peer where the first is dead, and the page stays', async () => {
    const kept = join(place, 'kept');
    mkdirSync(kept);
    await chrome.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: kept });
    await search('shared by two');
    await page.until(`${names} === '["shared by two.bin"]'`);
    const dies = await page.run('document.querySelector("#results .get").href.includes(' + JSON.stringify(first.at) + ')') ? first : second;
    const other = dies === first ? second : first;
    dies.program.removeAllListeners('exit');
    dies.program.kill('SIGSTOP');
    await page.run('document.querySelector("#results .get").click()');
    await page.until(`${text('getting')}.includes(${JSON.stringify('comes from ' + other.at)})`, 20000);
    for (let wait = 0; !existsSync(join(kept, 'shared by two.bin')); wait++) { must(wait < 100, 'nothing was kept'); await pause(100); }
    must(readFileSync(join(kept, 'shared by two.bin')).equals(readFileSync(join(two, 'shared by two.bin'))), 'other bytes');
    dies.program.kill('SIGCONT');
    must(await page.run('location.href') === site + '#q=' + encodeURIComponent('shared by two'), 'the page was left');
    // A file removed meanwhile must not navigate away from the page either.
    renameSync(join(one, 'tone.wav'), join(one, 'tune.wav'));
    await page.run(`keepFile({ name: 'gone', type: '' }, [{ peer: ${JSON.stringify(first.at)}, play: ${JSON.stringify(`http://${first.at}/files/gone`)} }])`);
    await page.until(`${text('getting')}.startsWith("None of the peers")`);
    renameSync(join(one, 'tune.wav'), join(one, 'tone.wav'));
    page.complaints = page.complaints.filter(text => !text.startsWith('network:'));
  });
  await check('behind a proxy, below a path, the page works and sends nobody to a machine of his own', async () => {
    const { server: front, url } = await proxy(server.at, '/below/this/');
    const below = await chrome.page(url + '#q=lesson');
    await below.until('document.querySelectorAll("#results > li").length === 30');
    await below.until('Number(document.querySelector("#nPeers").textContent) === 3');
    await below.until(`${text('liveState')} === "Live."`);
    must(await below.run('!document.querySelector("a[href*=\'127.0.0.1:\']:not([href^=\'' + url + '\'])") && !document.querySelector(".get, .play")'), 'a link to loopback');
    must((await below.run('document.querySelector("#results > li").innerText')).includes('machine of the server'), 'no word of why');
    must(!below.complaints.length, below.complaints.join('; '));
    await below.close();
    front.closeAllConnections();
    front.close();
    const { server: side, url: own } = await proxy(first.at, '/peer/');
    const behind = await chrome.page(own);
    await behind.until('document.querySelectorAll("#files .get").length >= 5');
    must(await behind.run(`document.querySelector("#files .get").href.startsWith(${JSON.stringify(own + 'files/')})`), 'a link that leads out of the path');
    await behind.close();
    side.closeAllConnections();
    side.close();
  });
  if (!nginxIsThere()) console.log('skipped: nginx is not installed here, and its check is left out');
  else await check('behind nginx, below a path, pages, searches, live events and downloads work', async () => {
    // Remote visitors receive links to peers outside loopback only.
    const address = Object.values(networkInterfaces()).flat().find(of => of.family === 'IPv4' && !of.internal)?.address || '127.0.0.1';
    const outer = await start('server', '--open', '--listen', `${address}:0`);
    const provider = await start('peer', '--server', outer.at, '--listen', `${address}:0`, '--folder', one);
    const notes = [];
    for (const [version, more] of [['HTTP/1.0', ''], ['HTTP/1.1', 'proxy_http_version 1.1; proxy_set_header Connection "";']]) {
      const { own, end } = await nginx({ '/files/here/': outer.at, '/peer/': provider.at }, more);
      const bare = await plain(own, '/files/here');
      must(bare.status === 301 && bare.headers.location === `${own}/files/here/`, `without its slash: ${bare.status} ${bare.headers.location}`);
      const below = await chrome.page(`${own}/files/here/#q=twin`);
      await below.until(`${names} === '["twin left.bin","twin right.bin"]'`, 30000);
      await below.until(`${text('liveState')} === "Live."`);
      await below.until('Number(document.querySelector("#nPeers").textContent) === 1');
      // Each event arrives at once although nginx buffers responses by default.
      const came = await below.run('new Promise(done => { const at = []; const s = new EventSource("api/live"); s.addEventListener("live", () => { at.push(performance.now()); if (at.length === 4) { s.close(); done(at.map(t => Math.round(t - at[0]))); } }); setTimeout(() => { s.close(); done(at); }, 12000); })');
      must(came.length === 4 && came[3] > 1500, `live events came at ${came} ms`);
      const known = await below.run('document.querySelector("#nFiles").textContent');
      writeFileSync(join(one, `new ${version.slice(-1)}.txt`), version);
      await below.until(`document.querySelector("#nFiles").textContent !== ${JSON.stringify(known)}`, 10000);
      if (address !== '127.0.0.1') {
        const href = await below.run('document.querySelector("#results .get").href');
        must(href.startsWith(`http://${provider.at}/files/twin%20left.bin`), href);
        must((await (await fetch(href)).arrayBuffer()).byteLength === 5000, 'not the file');
      } else must(await below.run('!document.querySelector(".get, .play")'), 'a link to loopback');
      const foreign = below.complaints.filter(text => !text.startsWith('network:'));
      must(!foreign.length, foreign.join('; '));
      await below.close();
      // The page of a peer links below its own path, and nginx rewrites names.
      const behind = await chrome.page(`${own}/peer/`);
      await behind.until('document.querySelectorAll("#files .get").length >= 5');
      await behind.until(`${text('liveState')} === "Live."`);
      const links = await behind.run('[...document.querySelectorAll("#files > li")].map(li => [li.querySelector("h3").textContent, li.querySelector(".get").href])');
      for (const [name, href] of links) {
        must(href.startsWith(`${own}/peer/files/`), href);
        const answer = await plain(own, new URL(href).pathname + '?download', { range: 'bytes=1-3' });
        const wanted = readFileSync(join(one, name)).subarray(1, 4);
        must(answer.status === 206 && answer.body.equals(wanted), `${name}: ${answer.status}, ${answer.body.length} bytes`);
        must(answer.headers['content-disposition']?.startsWith('attachment'), `${name} would be shown`);
      }
      await behind.run('[...document.querySelectorAll("#files .play")].find(b => b.getAttribute("aria-label").includes("tone")).click()');
      await behind.until(`${media}.currentTime > 0.3`);
      must(!behind.complaints.length, behind.complaints.join('; '));
      await behind.close();
      // Paths for local requests stay closed.
      for (const path of ['/files/here/metrics', '/peer/metrics']) must((await fetch(own + path)).status !== 200, `${path} is open`);
      notes.push(`${version}: ${links.length} files`);
      end();
    }
    for (const { program } of [provider, outer]) { program.removeAllListeners('exit'); program.kill('SIGKILL'); }
    return notes.join(', ');
  });
  const { script, faults } = axe(place);
  if (!script) console.log('note  axe-core can not be had here: its checks are left out');
  if (script) await check('axe-core finds nothing on the page of a server', async () => {
    publish('dora', 'lesson 0.pdf', 'of a user who is away');
    await search('lesson');
    await page.until('document.querySelectorAll("#results > li").length === 30 && document.querySelector("#results > .away")');
    await page.run('document.querySelectorAll("details").forEach(e => { e.open = true })');
    for (const dark of [false, true]) {
      await page.view({ width: 1100, height: 900, dark });
      await pause(300);
      await faults(page, dark ? 'dark' : 'light');
    }
    await page.run('document.querySelectorAll("details").forEach(e => { e.open = false })');
  });
  await page.view({ width: 1100, height: 1000, dark: true });
  await pause(300);
  await shot(page, 'search-dark');
  await check('the server page was silent: no error, no dialog, no breach of its policy', () => must(!page.complaints.length, page.complaints.join('; ')));

  const own = await chrome.page(`http://${first.at}/`);
  await check('a peer shows its files, and plays them', async () => {
    await own.until('document.querySelectorAll("#files > li").length >= 5');
    await shot(own, 'peer');
    await own.run('[...document.querySelectorAll("#files .play")].find(b => b.getAttribute("aria-label").includes("tone")).click()');
    await own.until(`${media}.currentTime > 0.3`);
    await own.run('document.querySelector("#close").click()');
  });
  await check('a peer shows its transfers to who sits at it', async () => {
    const abort = new AbortController();
    const big = await fetch(`http://${first.at}/files/${encodeURIComponent(film)}`, { signal: abort.signal });
    must(big.ok, 'no file');
    // A sound just played may still be downloading.
    await own.until(`[...document.querySelectorAll("#transfers li")].some(li => li.querySelector("progress") && li.innerText.includes(${JSON.stringify(film)}) && li.innerText.includes("127.0.0.1"))`, 8000);
    await own.view({ width: 1100, height: 900, dark: true });
    await pause(1500);
    await shot(own, 'peer-dark');
    abort.abort();
    await own.view({ width: 340, height: 780, mobile: true });
    must(await own.run('document.documentElement.scrollWidth <= innerWidth'), 'too wide for a phone');
  });
  await check('the user of a peer steers its queue by buttons, and others have none', async () => {
    const cardumeOf = (...words) => { const done = spawnSync(cardume, [...words, '--process', String(first.program.pid)], { env }); must(done.status === 0, `${words}: ${done.stderr}`); return String(done.stdout); };
    cardumeOf('add', '--paused', 'queued one.bin', 'queued two.bin');
    const names = 'JSON.stringify([...document.querySelectorAll("#transfers .name")].map(e => e.textContent).filter(name => name.startsWith("queued")))';
    await own.until(`${names} === '["queued one.bin","queued two.bin"]'`, 8000);
    const press = label => own.run(`document.querySelector('#transfers button[aria-label="${label}"]').click()`);
    await press('First: queued two.bin');
    await own.until(`${names} === '["queued two.bin","queued one.bin"]'`, 8000);
    await press('Resume: queued two.bin');
    await own.until(`document.querySelector('#transfers button[aria-label="Pause: queued two.bin"]')`, 8000);
    for (const lang of ['es', 'pt', 'en']) {
      await own.run(`document.querySelector("[data-lang=${lang}]").click()`);
      must(await own.run('[...document.querySelectorAll("#transfers button")].every(b => b.getBoundingClientRect().right < b.closest("li").getBoundingClientRect().right)'), `a button leaves its line: ${lang}`);
    }
    await own.run('document.getElementById("movingTitle").scrollIntoView()');
    await shot(own, 'peer-queue');
    if (script) await faults(own, 'peer with a queue');
    must(await own.run('document.documentElement.scrollWidth <= innerWidth'), 'too wide for a phone');
    await press('Cancel: queued two.bin');
    await press('Cancel: queued one.bin');
    await own.until(`${names} === '[]'`, 8000);
    must(!cardumeOf('transfers', '--downloads').includes('queued'), 'not cancelled');
  });
  if (script) await check('axe-core finds nothing on the page of a peer', () => faults(own, 'peer'));
  await check('a peer lists its files in order, with their number, and keeps the focus when they change', async () => {
    const shown = await own.run('[...document.querySelectorAll("#files h3")].map(e => e.textContent)');
    must(JSON.stringify(shown) === JSON.stringify([...shown].sort(new Intl.Collator('en', { numeric: true }).compare)), `not in order: ${shown}`);
    const label = 'document.activeElement.getAttribute("aria-label")';
    await own.run('document.querySelectorAll("#files .get")[3].focus()');
    const before = await own.run(label), count = shown.length;
    writeFileSync(join(one, '0 first of all.txt'), 'x');
    await own.until(`document.querySelectorAll("#files > li").length === ${count + 1}`, 20000);
    must(await own.run(label) === before, 'the focus is lost');
    await own.until(`${text('filesTotal')}.startsWith("${count + 1} files")`);
  });
  await check('the peer page was silent', () => must(!own.complaints.length, own.complaints.join('; ')));
  await check('a folder of a peer is written into a folder of the user, once, with its subfolders', async () => {
    const five = join(place, 'five');
    for (const below of ['', 'S01']) mkdirSync(join(five, 'Dark', below), { recursive: true });
    const parts = { 'a.txt': 'first', 'S01/b.bin': 'x'.repeat(70000), 'S01/c.txt': 'third' };
    for (const [name, bytes] of Object.entries(parts)) writeFileSync(join(five, 'Dark', name), bytes);
    const shelf = await peer(five, ['-r']), folders = await chrome.page(`http://${shelf.at}/`);
    await folders.until('document.querySelectorAll("#folderList > li").length === 1');
    must((await folders.run('document.querySelector("#folderList li").innerText')).includes('3 files'), 'no count');
    // Without a picker the page names the command.
    await folders.run('window.showDirectoryPicker = undefined; document.querySelector("#folderList .get").click()');
    await folders.until(`${text('getting')}.includes("cardume get 'Dark/' --from ${shelf.at}")`);
    // The private folder of the page stands for the one that a person picks.
    await folders.run('window.showDirectoryPicker = () => navigator.storage.getDirectory(); document.querySelector("#folderList .get").click()');
    await folders.until(`${text('getting')}.includes("3 files are in your folder")`);
    const read = name => folders.run(`(async () => { let at = await navigator.storage.getDirectory(); const parts = ${JSON.stringify('Dark/')}.concat(${JSON.stringify(name)}).split('/'), last = parts.pop(); for (const part of parts) at = await at.getDirectoryHandle(part); return await (await (await at.getFileHandle(last)).getFile()).text(); })()`);
    for (const [name, bytes] of Object.entries(parts)) must(await read(name) === bytes, `${name} has other bytes`);
    must(!folders.complaints.length, folders.complaints.join('; '));
    shelf.program.removeAllListeners('exit');
    shelf.program.kill('SIGTERM');
  });
  await check('a server that goes away is told of, and found again', async () => {
    server.program.removeAllListeners('exit');
    server.program.kill('SIGKILL');
    await page.until(`${text('liveState')}.includes("trying again")`);
    await search('tone');
    await page.until(`${text('status')}.includes("does not answer")`);
    await start('server', '--listen', server.at);
    await page.until(`${text('liveState')} === "Live."`, 20000);
    // The peers reconnect, and the search results return.
    await page.until(`${names} === '["tone.wav"]'`, 60000);
  });
} catch (error) {
  failed(error);
} finally {
  await finish(chrome, place);
}
