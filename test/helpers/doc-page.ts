import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { CLI, type Run, runProgram } from './cli.ts';
import { PAGE_FILES } from './doc-files.ts';
import { type Block, blocksOf, type Page, ROOT } from './markdown.ts';
import { endProcess, startProcess } from './service.ts';
import { commandsOf, type ShellCommand } from './shell.ts';

// Runs the blocks of code of a page, as they stand and in order, in one folder that begins with the files of
// PAGE_FILES.

const TRACK_FILES = new URL('./track-files.mjs', import.meta.url).href;
/** No example takes a tenth of this: one that does not end hangs. */
export const WATCHDOG_MS = 120_000;

/** Programs of engines and of hosts, and what sets them up: nothing here can run them. */
const OTHERS = [
  ...['curl', 'eplb-tensorrt-llm', 'export', 'python3', 'trtllm-llmapi-launch', 'unset', 'vllm'],
  ...['docker', 'install', 'kubectl', 'openssl', 'systemctl'],
];
/** Languages of blocks that belong to the block before, or to an engine. */
const NOT_RUN = ['text', 'python'];

/** What an example opens, and what it has to call at its end. */
const CLOSED: readonly (readonly [opens: RegExp, closes: RegExp])[] = [
  [/new (eplb\.)?ExpertLoadBalancer\(/, /await balancer\.close\(\)|await using balancer/],
  [/openRecording\(/, /await recording\.close\(\)|await using recording/],
  [/connectBalancer\(/, /connected\.close\(\)/],
];

/** Declares a test for each block of a page. */
export function testPage(page: Page): void {
  const blocks = blocksOf(page);
  if (blocks.length === 0) return;
  describe(page.path, () => {
    let dir = '';
    before(async () => {
      dir = await makeFolder(page);
    });
    after(() => rm(dir, { recursive: true, force: true }));
    const prelude = blocks.find(({ isPrelude }) => isPrelude)?.code ?? '';
    for (const [i, block] of blocks.entries()) {
      if (NOT_RUN.includes(block.language)) continue;
      const next = blocks[i + 1];
      const expected = next?.language === 'text' ? next.code : undefined;
      test(`line ${block.line}: ${block.language}`, { timeout: WATCHDOG_MS }, async () => {
        const output = await check(block, { dir, prelude });
        if (expected !== undefined) assertShown(output, expected);
      });
    }
    test('every block of text shows the output of the block before it', () => {
      for (const [i, { language, line }] of blocks.entries()) {
        if (language !== 'text') continue;
        const before = blocks[i - 1]?.language ?? 'nothing';
        assert.ok(['js', 'sh'].includes(before), `line ${line} comes after ${before}`);
      }
    });
  });
}

/** Where the examples of a page run: inside the project, so that the package finds itself by its name. */
async function makeFolder({ path }: Page): Promise<string> {
  const dir = await mkdtemp(join(ROOT, 'build', 'docs-'));
  await mkdir(join(dir, 'bin'));
  await symlink(CLI, join(dir, 'bin', 'eplb'));
  await chmod(CLI, 0o755);
  await symlink(join(ROOT, 'recordings'), join(dir, 'recordings'));
  await PAGE_FILES[path]?.(dir);
  return dir;
}

interface Surroundings {
  readonly dir: string;
  readonly prelude: string;
}

/** Runs or parses a block. @returns what it printed */
async function check(block: Block, surroundings: Surroundings): Promise<string> {
  const { language, code } = block;
  // As of scripts, a first comment of a file's name makes it that file.
  if (language === 'js') return runScript(block, surroundings);
  if (language === 'sh') return runCommands(commandsOf(code), surroundings.dir);
  if (language === 'json') JSON.parse(code);
  else if (language === 'yaml') {
    parse(code);
    const file = /^# ([\w-]+\.yaml)\n/.exec(code)?.[1];
    if (file !== undefined) await writeFile(join(surroundings.dir, file), code);
  } else assert.ok(language === 'ts', `nothing here knows what to do with the language ${language}`);
  return '';
}

/** A script that begins with a comment of a file's name is that file: later examples use it. */
async function runScript({ line, code, isPrelude }: Block, { dir, prelude }: Surroundings): Promise<string> {
  const file = /^\/\/ ([\w-]+\.mjs)\n/.exec(code)?.[1];
  if (file !== undefined) {
    await writeFile(join(dir, file), code);
    const parsed = await runProgram(process.execPath, ['--check', join(dir, file)]);
    assert.deepEqual(parsed, { code: 0, stdout: '', stderr: '' });
  }
  for (const [opens, closes] of CLOSED) {
    if (opens.test(code)) assert.match(code, closes, 'an example closes what it opens');
  }
  if (file !== undefined) return '';
  const script = join(dir, `line-${line}.mjs`);
  await writeFile(script, isPrelude ? code : `${prelude}\n${code}`);
  const args = ['--import', TRACK_FILES, script];
  const run = await runProgram(process.execPath, args, { cwd: dir, env: environment(dir) });
  assert.equal(run.stderr, '');
  assert.equal(run.code, 0);
  return run.stdout;
}

async function runCommands(commands: readonly ShellCommand[], dir: string): Promise<string> {
  let output = '';
  for (const command of commands) output += (await runCommand(command, dir))?.stdout ?? '';
  return output;
}

/** Runs a command of this project; of others only looks whether they can be. */
async function runCommand({ text, program, comment }: ShellCommand, dir: string): Promise<Run | undefined> {
  if (OTHERS.includes(program)) return undefined;
  if (program === 'npm') {
    await checkNpm(text);
    return undefined;
  }
  assert.ok(['eplb', 'cat'].includes(program), `nothing here knows what to do with the program ${program}`);
  if (/^eplb serve\b(?!.*--check-config)/.test(text)) return startAndStop(text, dir);
  if (/^eplb (fake-engine|top)\b/.test(text)) return besideService(text, dir);
  const run = await runProgram('bash', ['-c', text], { cwd: dir, env: environment(dir) });
  const code = Number(/exit code (\d+)/.exec(comment)?.[1] ?? 0);
  assert.equal(run.code, code, `${text}\n${run.stdout}${run.stderr}`);
  if (code === 0) assert.equal(run.stderr, '');
  return run;
}

/** Runs a command that asks a service, with one where the command looks for it. */
async function besideService(text: string, dir: string): Promise<Run> {
  const service = await startProcess(['--listen', '127.0.0.1:0']);
  try {
    const env = { ...environment(dir), EPLB_SERVE_URL: service.address };
    const here = text.replace(/ --url \S+/, '');
    if (here.startsWith('eplb fake-engine')) return await startAndStop(here, dir, env);
    const run = await runProgram('bash', ['-c', here], { cwd: dir, env });
    assert.deepEqual([run.code, run.stderr], [0, ''], text);
    return run;
  } finally {
    await endProcess(service);
  }
}

/** Runs a command that goes on until it is stopped: once it has said that it is there. */
async function startAndStop(text: string, dir: string, env = environment(dir)): Promise<Run> {
  const child = spawn('bash', ['-c', `exec ${text}`], { cwd: dir, env });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (part) => {
    stdout += part;
    child.kill('SIGTERM');
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, text);
  return { code, stdout, stderr: '' };
}

/** Looks whether npm would know what to do. */
async function checkNpm(text: string): Promise<void> {
  const { name, scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  for (const part of text.split('&&')) {
    const [program, verb = '', ...words] = part.trim().split(/\s+/);
    assert.equal(program, 'npm', part);
    if (verb === 'install') assert.ok([name, '.'].includes(words.at(-1)), part);
    else if (verb === 'run') assert.ok(scripts[words[0] ?? ''], `${part}: there is no such script`);
    else assert.ok(['ci', 'cit'].includes(verb) || scripts[verb], part);
  }
}

function environment(dir: string): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${join(dir, 'bin')}:${process.env.PATH}`, NO_COLOR: '1' };
}

/** Asserts that an output has the text, or its parts between lines of three dots, in order. */
export function assertShown(output: string, expected: string): void {
  // Times that are measured differ from run to run.
  const plain = (text: string) => text.replace(/planning time +\d.*/g, 'planning time').replace(/ +$/gm, '');
  const found = plain(output);
  let at = 0;
  for (const part of plain(expected).split(/^\.\.\.\n/m)) {
    const start = found.indexOf(part.trimEnd(), at);
    assert.ok(start >= 0, `${part}\nis not in the output\n${output}`);
    at = start + part.trimEnd().length;
  }
}
