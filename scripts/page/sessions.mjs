// Checks browser sessions and the view of administrators in a browser. Prints one line for each check.
// Usage: node sessions.mjs CARDUME [FOLDER FOR SCREENSHOTS]

import { spawn, spawnSync } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, failed, finish, must, running, shots, text } from './checks.mjs';
import { Chrome, pause } from './chrome.mjs';

const [cardume, folder] = process.argv.slice(2);
const shot = shots(folder);
const place = mkdtempSync(join(tmpdir(), 'cardume-sessions-'));
const own = { ...process.env, CARDUME_LANG: 'en', CARDUME_CACHE: join(place, 'cache'), XDG_STATE_HOME: join(place, 'state') };
const HOST = 'video.example', HOSTILE = '<img src=x onerror=alert(1)>';
let chrome;

function tool(program, ...words) {
  const done = spawnSync(program, words, { env: own, encoding: 'utf8' });
  must(done.status === 0, `${program} ${words.join(' ')}: ${done.stderr || done.error}`);
  return done.stdout;
}

/** Starts the program, and waits for a line that matches on stdout or stderr. */
function start(env, wanted, ...words) {
  const program = spawn(cardume, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(program);
  return new Promise((done, failed) => {
    let said = '';
    const read = bytes => {
      said += bytes;
      const found = wanted.exec(said);
      if (found) done({ program, found });
    };
    program.stdout.on('data', read);
    program.stderr.on('data', read);
    program.once('exit', () => failed(new Error(`cardume ${words.join(' ')} ended: ${said}`)));
  });
}

/** A certificate that this browser alone trusts, and the hash of its key. */
function certificate() {
  const [cert, key] = ['cert.pem', 'key.pem'].map(name => join(place, name));
  tool('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${HOST}`, '-addext', `subjectAltName=DNS:${HOST}`);
  tool('chmod', '600', key);
  const spki = new X509Certificate(readFileSync(cert)).publicKey.export({ type: 'spki', format: 'der' });
  return { cert, key, hash: createHash('sha256').update(spki).digest('base64') };
}

try {
  const { cert, key, hash } = certificate();
  const { found: [, at] } = await start(own, /listening on (\S+)/, 'server', '--listen', '127.0.0.1:0', '--data', join(place, 'data'), '--tls-cert', cert, '--tls-key', key);
  const site = `https://${HOST}:${at.split(':')[1]}/`;
  const administers = (...words) => tool(cardume, ...words, '--server', at);
  const invite = (...terms) => administers('invite', '--web', ...terms).split('\n').find(line => line.startsWith('https://'));
  const folder = join(place, 'folder');
  mkdirSync(folder);
  writeFileSync(join(folder, 'aula 1.mp4'), 'hello');
  await start(own, /Sou peer/, 'peer', '--server', at, '--listen', '127.0.0.1:0', '--folder', folder);
  /** A key that waits for admission under this name. */
  const applies = (name, number) => {
    const url = administers('invite').split('\n')[0].replace(/\.[^.]*$/, '');
    return start({ ...own, XDG_STATE_HOME: join(place, `user${number}`) }, /waiting for an administrator/, 'join', url, '--name', name);
  };
  chrome = new Chrome(process.env.CHROMIUM || 'chromium', [`--ignore-certificate-errors-spki-list=${hash}`, `--host-resolver-rules=MAP ${HOST} 127.0.0.1`]);

  const link = invite('--role', 'read');
  const page = await chrome.page(link);
  await check('the link of an invite begins a session, and leaves no token in the address', async () => {
    await page.until(`${text('youTitle')}.includes('You are web-')`);
    must(await page.run('location.hash === "" && history.length === 2'), 'the token is in the address or the history');
    must(await page.run('document.cookie === ""'), 'a script reads the cookie');
    must((await page.run(text('youText'))).includes('cardume web'), 'no word about fetching');
  });
  await check('a session searches, and says how to fetch', async () => {
    await page.run('document.querySelector("#q").focus()');
    await page.type('aula');
    await page.until('document.querySelectorAll("#results > li").length === 1', 20000);
    const line = await page.run('document.querySelector("#results > li").innerText');
    must(line.includes('aula 1.mp4') && line.includes('cardume web'), line);
    must(await page.run('!document.querySelector("#results .get, #results .play")'), 'a button that can not work');
    await page.until(`${text('liveState')} === "Live."`);
    await shot(page, 'session');
  });
  await check('the notice is in three languages', async () => {
    for (const [code, words] of [['pt', 'Para baixar'], ['es', 'Para descargar'], ['en', 'To fetch']]) {
      await page.run(`document.querySelector('[data-lang=${code}]').click()`);
      must((await page.run(text('youText'))).includes(words), code);
    }
  });
  await check('no administration for a reader', async () => must(await page.run('!document.querySelector("#admin")'), 'a view'));
  await check('a session goes on after a reload, and ends by logout', async () => {
    await page.go(site);
    await page.until(`${text('youTitle')}.includes('You are web-')`);
    await page.run('document.querySelector("#leave").click()');
    await page.until(`document.querySelector("#youTitle")?.textContent.includes('for its members')`);
    must(await page.run('getComputedStyle(document.querySelector("#form")).display === "none" && document.activeElement.id === "youTitle"'), 'more than the notice');
    await shot(page, 'members-only');
  });
  await check('a used invite is told', async () => {
    const other = await chrome.page(link);
    await other.until(`${text('youText')}.includes('not valid')`);
    must(await other.run('location.hash === ""'), 'the token is in the address');
    await other.close();
  });
  page.complaints = page.complaints.filter(said => !said.startsWith('network:'));
  must(!page.complaints.length, page.complaints.join('; '));

  const admin = await chrome.page(invite('--role', 'admin'));
  const open = part => admin.run(`document.querySelector('[data-part=${part}]').open = true`);
  const names = part => admin.run(`[...document.querySelectorAll('#admin-${part} h3')].map(e => e.textContent)`);
  const press = (part, name, what) => admin.run(`(() => { const li = [...document.querySelectorAll('#admin-${part} > li')].find(li => li.querySelector('h3').textContent.includes(${JSON.stringify(name)}));
    const b = [...li.querySelectorAll('button')].find(b => b.textContent.includes(${JSON.stringify(what)})); b.click(); })()`);
  await check('an administrator has a view, opened by the keyboard', async () => {
    await admin.until('document.querySelector("#admin [data-part=members] summary")');
    await admin.run('document.querySelector("#admin [data-part=members] summary").focus()');
    await admin.key('Enter');
    await admin.until('document.querySelectorAll("#admin-members > li h3").length >= 1');
  });
  await check('an applicant with a hostile name is text, and is admitted by a click', async () => {
    await applies(HOSTILE, 1);
    await open('applicants');
    await admin.until(`[...document.querySelectorAll('#admin-applicants h3')].some(e => e.textContent === ${JSON.stringify(HOSTILE)})`);
    must(await admin.run('!document.querySelector("#admin img")'), 'an element was injected');
    await shot(admin, 'admin-applicants');
    await press('applicants', HOSTILE, 'Admit');
    await admin.until(`[...document.querySelectorAll('#admin-members h3')].some(e => e.textContent === ${JSON.stringify(HOSTILE)})`);
    must(administers('members').includes(HOSTILE), 'no member');
  });
  await check('a member is revoked at the second press', async () => {
    await press('members', HOSTILE, 'Revoke');
    await admin.until(`document.querySelector('#admin-members .armed')`);
    must(administers('members').includes(HOSTILE), 'the first press acts');
    await press('members', HOSTILE, 'Really Revoke');
    await admin.until(`![...document.querySelectorAll('#admin-members h3')].some(e => e.textContent === ${JSON.stringify(HOSTILE)})`);
    must(!administers('members').includes(HOSTILE), 'still a member');
  });
  await check('a new invite is shown once, works, and is withdrawn', async () => {
    await open('invites');
    await admin.run(`document.querySelector('#inviteUses').value = '7'; document.querySelector('#inviteGroups').value = 'turma-a, turma-b'`);
    await admin.run(`document.querySelector('[data-part=invites] form').requestSubmit()`);
    await admin.until('document.querySelectorAll("#newInvite code").length === 2');
    const [web, native] = await admin.run('[...document.querySelectorAll("#newInvite code")].map(e => e.textContent)');
    must(web.startsWith(`${site}#i=`) && native.startsWith('cardume://'), `${web} ${native}`);
    spawnSync(cardume, ['join', '--name', 'bia'], { env: { ...own, XDG_STATE_HOME: join(place, 'bia'), CARDUME_INVITE: native } });
    must(/^bia\tshare\tturma-a,turma-b/m.test(administers('members')), administers('members'));
    const id = administers('invite', '--list').split('\n').find(line => line.includes('turma-a')).split('\t')[0];
    await press('invites', id, 'Withdraw');
    await press('invites', id, 'Really');
    await admin.until(`![...document.querySelectorAll('#admin-invites h3')].some(e => e.textContent === '${id}')`);
    must(!administers('invite', '--list').includes(id), 'still valid');
  });
  await check('a member is banned, and the ban is lifted', async () => {
    // A list is loaded again when it is opened.
    await admin.run(`document.querySelector('[data-part=members]').open = false`);
    await pause(100);
    await open('members');
    await admin.until(`[...document.querySelectorAll('#admin-members h3')].some(e => e.textContent === 'bia')`);
    await open('bans');
    await press('members', 'bia', 'Ban');
    await press('members', 'bia', 'Really');
    await admin.until(`[...document.querySelectorAll('#admin-bans h3')].some(e => e.textContent === 'bia')`);
    must(/^[0-9a-f]{64}\tbia\t/m.test(administers('bans')), administers('bans'));
    await press('bans', 'bia', 'Lift');
    await press('bans', 'bia', 'Really');
    await admin.until(`![...document.querySelectorAll('#admin-bans h3')].some(e => e.textContent === 'bia')`);
    must(!administers('bans').includes('bia'), 'still banned');
  });
  await check('a range is banned by the form, and a limit is set', async () => {
    await open('bans');
    await admin.run(`document.querySelector('#banWho').value = '192.0.2.0/24'; document.querySelector('#banReason').value = ${JSON.stringify(HOSTILE)}`);
    await admin.run(`document.querySelector('[data-part=bans] form').requestSubmit()`);
    await admin.until(`[...document.querySelectorAll('#admin-bans h3')].some(e => e.textContent === '192.0.2.0/24')`);
    must(await admin.run('!document.querySelector("#admin img")'), 'an element was injected');
    must(administers('bans').includes('192.0.2.0/24'), administers('bans'));
    await shot(admin, 'admin-bans');
    await press('bans', '192.0.2.0/24', 'Lift');
    await press('bans', '192.0.2.0/24', 'Really');
    await admin.until(`!document.querySelector('#admin-bans h3')`);
    await open('limits');
    await admin.until(`[...document.querySelectorAll('#admin-limits h3')].some(e => e.textContent === 'searches')`);
    await admin.run(`[...document.querySelectorAll('#admin-limits > li')].find(li => li.querySelector('h3').textContent === 'searches').querySelector('input').value = '500'`);
    await press('limits', 'searches', 'Set');
    await admin.until(`[...document.querySelectorAll('#admin-limits > li button')].some(b => b.textContent === 'Default')`);
    must(/^searches\t500\b/m.test(administers('limits')), administers('limits'));
  });
  await check('the audit log shows what was done', async () => {
    await open('audit');
    await admin.until(`document.querySelector('#admin-audit')?.innerText.includes('REVOKE')`);
    const log = await admin.run(`document.querySelector('#admin-audit').innerText`);
    for (const what of ['SESSION', 'INVITE', 'ADMIT', HOSTILE]) must(log.includes(what), what);
    must(await admin.run('!document.querySelector("#admin img")'), 'an element was injected');
    await admin.until(`document.querySelector('[data-part=audit]').innerText.includes('intact')`);
  });
  await check('the view fits a phone, light and dark, in three languages', async () => {
    for (const dark of [false, true]) {
      await admin.view({ width: 390, height: 800, mobile: true, dark });
      for (const code of ['pt', 'es', 'en']) {
        await admin.run(`document.querySelector('[data-lang=${code}]').click()`);
        await pause(100);
        const width = await admin.run('document.documentElement.scrollWidth');
        must(width <= 390, `${code}: ${width} px`);
      }
      await shot(admin, dark ? 'admin-dark' : 'admin-light');
    }
  });
  await check('the page weighs less than 90 KB in all', async () => {
    const all = [...admin.bytes.values()].reduce((a, b) => a + b, 0);
    const parts = await admin.run(`Promise.all(['./', 'app.js', 'shared.js', 'words.js', 'admin.js', 'style.css', 'favicon.svg'].map(path => fetch(path, { headers: { Accept: 'text/html' } }).then(a => a.text()))).then(all => all.reduce((sum, text) => sum + new Blob([text]).size, 0))`);
    must(parts > 20000 && parts < 90000, `${parts} bytes`);
    return `${parts} bytes; ${all} with all requests`;
  });
  await check('the view of an administrator was silent', () => must(!admin.complaints.length, admin.complaints.join('; ')));

  const { found: [gateway] } = await start(own, /http:\/\/127\S+/, 'web', '--server', at);
  const behind = await chrome.page(gateway);
  await check('the gateway of the operator administers as well', async () => {
    await behind.until('document.querySelector("#admin [data-part=members]")');
    await behind.run(`document.querySelector('[data-part=invites]').open = true`);
    await behind.run(`document.querySelector('[data-part=invites] form').requestSubmit()`);
    await behind.until('document.querySelectorAll("#newInvite code").length === 2');
    must(!behind.complaints.length, behind.complaints.join('; '));
  });
} catch (error) {
  failed(error);
} finally {
  await finish(chrome, place);
}
