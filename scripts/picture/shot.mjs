// Screenshots for the picture.
// Usage: node shot.mjs phone URL FILE     the page of a server on a phone: searches, prints `ready`, waits for a line, then takes the screenshot
//        node shot.mjs page URL FILE      a page of 1280 pixels, as high as its content

import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Chrome } from '../page/chrome.mjs';

const [kind, url, file] = process.argv.slice(2);
const chrome = new Chrome(process.env.CHROMIUM || 'chromium', ['--force-device-scale-factor=1', '--hide-scrollbars']);

async function phone() {
  const page = await chrome.page(url, { width: 390, height: 800, mobile: true });
  await page.run('document.querySelector("#q").focus()');
  await page.type('algebra');
  await page.until('document.querySelectorAll("#results > li").length >= 1');
  await page.run('document.activeElement.blur(); scrollTo(0, 0)');
  console.log('ready');
  await new Promise(done => createInterface({ input: process.stdin }).once('line', done));
  await page.until('Number(document.querySelector("#nUploads").textContent) >= 1');
  await page.until('/[1-9].*B/.test(document.querySelector("#nRate").textContent)');
  return page.shot();
}

async function whole() {
  const page = await chrome.page(url, { width: 1280, height: 800 });
  const height = await page.run('document.documentElement.scrollHeight');
  await page.view({ width: 1280, height });
  return page.shot();
}

try {
  writeFileSync(file, await (kind === 'phone' ? phone() : whole()));
} finally {
  await chrome.close();
}
process.exit();
