// A headless browser and a minimal client of its DevTools protocol over two pipes. No packages.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const pause = ms => new Promise(done => setTimeout(done, ms));

export class Chrome {
  constructor(program = 'chromium', options = []) {
    this.home = mkdtempSync(join(tmpdir(), 'page-'));
    this.process = spawn(program, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--mute-audio',
      '--autoplay-policy=no-user-gesture-required', '--remote-debugging-pipe', `--user-data-dir=${this.home}`, ...options, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: this.home } });
    this.next = 1;
    this.open = new Map();
    this.pages = new Map();
    this.gone = new Promise(done => this.process.once('exit', done));
    let rest = Buffer.alloc(0);
    this.process.stdio[4].on('data', bytes => {
      rest = Buffer.concat([rest, bytes]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        this.receive(JSON.parse(rest.subarray(0, end).toString()));
        rest = rest.subarray(end + 1);
      }
    });
    this.process.stdio[3].on('error', () => { /* it has ended */ });
  }

  receive({ id, result, error, method, params, sessionId }) {
    if (id) {
      const [done, failed] = this.open.get(id) || [];
      this.open.delete(id);
      if (error) failed?.(new Error(error.message)); else done?.(result);
    } else this.pages.get(sessionId)?.receive(method, params);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.next++;
    return new Promise((done, failed) => {
      this.open.set(id, [done, failed]);
      this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
    });
  }

  async page(url, { language = 'en-US', width = 1100, height = 900, mobile = false, dark = false } = {}) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId, targetId);
    this.pages.set(sessionId, page);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    const { userAgent } = await this.send('Browser.getVersion');
    await page.send('Emulation.setUserAgentOverride', { userAgent, acceptLanguage: language });
    await page.view({ width, height, mobile, dark });
    await page.go(url);
    return page;
  }

  async close() {
    this.process.kill('SIGKILL');
    await this.gone;
    try {
      // Children of the browser write for some time after its end.
      rmSync(this.home, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    } catch (error) {
      console.log(`a folder of the browser is left: ${error.message}`);
    }
  }
}

export class Page {
  constructor(chrome, session, target) {
    Object.assign(this, { chrome, session, target, complaints: [], bytes: new Map(), loaded: null });
  }

  send(method, params) { return this.chrome.send(method, params, this.session); }

  receive(method, params) {
    if (method === 'Page.loadEventFired') this.loaded?.();
    if (method === 'Runtime.exceptionThrown') this.complaints.push('exception: ' + (params.exceptionDetails.exception?.description || params.exceptionDetails.text));
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) this.complaints.push('console: ' + params.args.map(a => a.value || a.description).join(' '));
    if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) this.complaints.push(`${params.entry.source}: ${params.entry.text} ${params.entry.url || ''}`);
    if (method === 'Page.javascriptDialogOpening') {
      this.complaints.push('dialog: ' + params.message);
      this.send('Page.handleJavaScriptDialog', { accept: true });
    }
    if (method === 'Network.loadingFinished') this.bytes.set(params.requestId, params.encodedDataLength);
  }

  async go(url) {
    const loaded = new Promise(done => { this.loaded = done; });
    await this.send('Page.navigate', { url });
    await loaded;
  }

  view({ width, height, mobile, dark }) {
    return Promise.all([
      this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: Boolean(mobile) }),
      this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] }),
    ]);
  }

  async run(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description || exceptionDetails.text);
    return result.value;
  }

  /** Waits until the expression is true. */
  async until(expression, patience = 15000) {
    const end = Date.now() + patience;
    for (;;) {
      const value = await this.run(expression);
      if (value) return value;
      if (Date.now() > end) throw new Error(`not within ${patience} ms: ${expression}`);
      await pause(50);
    }
  }

  async key(key, modifiers = 0) {
    const codes = { Tab: 9, Enter: 13, Escape: 27, ' ': 32 };
    const named = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: codes[key], modifiers };
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...named, text: { Enter: '\r', ' ': ' ' }[key] });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...named });
  }

  type(text) { return this.send('Input.insertText', { text }); }

  async shot() { return Buffer.from((await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: false })).data, 'base64'); }

  close() { return this.chrome.send('Target.closeTarget', { targetId: this.target }); }
}
