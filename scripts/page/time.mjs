// Measures the bytes of a server's page and the time from typing to the result on the screen. Prints one JSON object.
// Usage: node time.mjs ADDRESS QUERY...      one run for each query; a query must have results

import { Chrome, pause } from './chrome.mjs';

const [address, ...queries] = process.argv.slice(2);
const chrome = new Chrome(process.env.CHROMIUM || 'chromium');
try {
  const page = await chrome.page(`http://${address}/`);
  await pause(1000);
  const bytes = [...page.bytes.values()].reduce((a, b) => a + b, 0);
  const times = [];
  for (const query of queries) {
    await page.run(`(() => {
      const field = document.querySelector('#q'), list = document.querySelector('#results');
      field.value = '';
      field.dispatchEvent(new Event('input'));
      field.focus();
    })()`);
    await page.until('document.querySelector("#found").hidden');
    // From the key event to the frame after the first result: by then the result has been painted.
    await page.run(`window.took = new Promise(done => {
      const field = document.querySelector('#q'), list = document.querySelector('#results');
      let began = 0;
      field.addEventListener('input', () => { began = performance.now(); }, { once: true, capture: true });
      const look = new MutationObserver(() => {
        if (!list.firstElementChild) return;
        look.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
      });
      look.observe(list, { childList: true });
    }); 0`);
    await page.type(query);
    times.push(await Promise.race([page.run('window.took'), pause(20000).then(() => { throw new Error(`nothing came for ${query}`); })]));
  }
  console.log(JSON.stringify({ bytes, times }));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await chrome.close();
}
process.exit();
