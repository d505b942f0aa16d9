// The common parts of the checks in a browser: a line for each check, and the end of all programs.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

let failures = 0;

/** The programs that end with the checks. */
export const running = [];

export function must(good, text) { if (!good) throw new Error(text); }

export const text = id => `document.getElementById(${JSON.stringify(id)}).textContent`;

/** Keeps screenshots in this folder, if there is one. */
export const shots = folder => async (page, name) => { if (folder) writeFileSync(join(folder, `${name}.png`), await page.shot()); };

export async function check(what, act) {
  try {
    const note = await act();
    console.log(`ok    ${what}${note ? ` (${note})` : ''}`);
  } catch (error) {
    failures++;
    console.log(`FAIL  ${what}: ${error.message}`);
  }
}

/** An error outside of a check. */
export function failed(error) {
  failures++;
  console.log(`FAIL  ${error.stack}`);
}

/** Ends all programs, removes the folder, and exits. */
export async function finish(chrome, place) {
  for (const program of running) { program.removeAllListeners('exit'); program.kill('SIGKILL'); }
  if (chrome) await chrome.close();
  rmSync(place, { recursive: true, force: true });
  console.log(failures ? `${failures} failed` : 'all good');
  process.exit(failures ? 1 : 0);
}
