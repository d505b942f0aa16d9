// The common parts of the checks in a browser: a line for each check, and the end of all programs.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

/** Starts the program, and waits until its port is open. */
export const starter = (cardume, env) => (...words) => {
  const program = spawn(cardume, words, { env, stdio: ['pipe', 'ignore', 'pipe'] });
  running.push(program);
  return new Promise((done, failed) => {
    let said = '';
    program.stderr.on('data', bytes => {
      said += bytes;
      const found = /listening on (\S+)/.exec(said);
      if (found) done({ program, at: found[1], said: () => said });
    });
    program.once('exit', () => failed(new Error(`cardume ${words.join(' ')} ended: ${said}`)));
  });
};

/** The script of axe-core, brought for a check alone; nothing where no registry can be reached. */
function axeScript(place) {
  const folder = process.env.AXE_CORE || join(place, 'axe');
  const script = join(folder, 'node_modules', 'axe-core', 'axe.min.js');
  if (!existsSync(script)) {
    mkdirSync(folder, { recursive: true });
    spawnSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--silent', 'axe-core@4'], { timeout: 60000, stdio: 'ignore' });
  }
  return existsSync(script) ? readFileSync(script, 'utf8') : null;
}

/** axe-core, and the check that it finds nothing on a page. */
export function axe(place) {
  const script = axeScript(place);
  const faults = async (of, what) => {
    await of.run(script);
    const { violations } = await of.run('axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => ({ violations: violations.map(v => `${v.id}: ${v.nodes.map(n => n.target).join(" ")}`) }))');
    must(!violations.length, `${what}: ${violations.join('; ')}`);
  };
  return { script, faults };
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
