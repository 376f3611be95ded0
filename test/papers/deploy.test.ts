/**
 * What `deploy/` has. There is neither Docker nor Kubernetes where this runs: its files are parsed, what they
 * have the command do is asked of the command, and systemd and promtool look at theirs.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { eplb, inTempDir } from '../helpers/cli.ts';
import { EngineProcess } from '../helpers/fake-engine.ts';
import { blocksOf, pages, ROOT } from '../helpers/markdown.ts';
import { hasPromtool, promtool } from '../helpers/promtool.ts';
import { serve } from '../helpers/service.ts';

const TOKEN = '0123456789abcdef0123456789abcdef';
const read = (name: string) => readFile(join(ROOT, 'deploy', name), 'utf8');

interface Compose {
  readonly services: Readonly<
    Record<string, { readonly command: readonly string[]; readonly secrets?: readonly string[] }>
  >;
  readonly secrets: Readonly<Record<string, object>>;
}

/** What the command makes of the arguments of a service, with the token's file where it is here. */
async function checkedConfig(args: readonly string[], dir: string) {
  await writeFile(join(dir, 'token'), TOKEN);
  const own = args.map((arg) => arg.replace(/^\S*\/token$/, join(dir, 'token')));
  const run = await eplb([...own, '--check-config']);
  assert.equal(run.code, 0, run.stderr);
  return JSON.parse(run.stdout);
}

test('the service of the Compose file starts, and its engine goes through steps', async () => {
  const { services, secrets } = parse(await read('compose.yaml')) as Compose;
  for (const { secrets: used = [] } of Object.values(services)) {
    for (const name of used) assert.ok(Object.hasOwn(secrets, name), name);
  }
  await inTempDir(async (dir) => {
    const { listen, token, insecure } = await checkedConfig(services.eplb!.command, dir);
    assert.deepEqual({ listen, token, insecure }, { listen: '0.0.0.0:8770', token: '(set)', insecure: true });
    const service = await serve.startService({ listen: '127.0.0.1:0', token: TOKEN });
    try {
      const here: Readonly<Record<string, string>> = {
        '--url=http://eplb:8770': `--url=${service.address}`,
        '--token-file=/run/secrets/token': `--token-file=${join(dir, 'token')}`,
        '--recording=/recordings/deepseek-v2-lite.law.routes.npy': `--recording=${ROOT}/recordings/deepseek-v2-lite.law.routes.npy`,
        '--ranks=8': '--ranks=2',
      };
      const [name, ...args] = services.engine!.command;
      assert.equal(name, 'fake-engine');
      for (const arg of Object.keys(here)) assert.ok(args.includes(arg), arg);
      const engine = new EngineProcess([...args.map((arg) => here[arg] ?? arg), '--num-steps', '3']);
      assert.equal(await engine.ended(), 0, engine.errors);
      assert.equal(engine.events.at(-1)!.steps, 3);
    } finally {
      await service.close();
    }
  });
});

test('the objects for Kubernetes fit each other, and the service takes its configuration', async () => {
  const documents = parseAllDocuments(await read('kubernetes.yaml'));
  for (const { errors, warnings } of documents) assert.deepEqual([...errors, ...warnings], []);
  const objects = documents.map((document) => document.toJS());
  const byKind = (kind: string) => objects.find((object) => object.kind === kind);
  assert.deepEqual(
    objects.map(({ kind }) => kind),
    ['ConfigMap', 'StatefulSet', 'Service', 'NetworkPolicy'],
  );
  const { template, selector, volumeClaimTemplates } = byKind('StatefulSet').spec;
  assert.deepEqual(template.metadata.labels, selector.matchLabels);
  assert.deepEqual(byKind('Service').spec.selector, selector.matchLabels);
  assert.deepEqual(byKind('NetworkPolicy').spec.podSelector, selector);
  const [container] = template.spec.containers;
  const volumes = [
    ...template.spec.volumes,
    ...volumeClaimTemplates.map((claim: object) => Reflect.get(claim, 'metadata')),
  ];
  for (const { name } of container.volumeMounts)
    assert.ok(
      volumes.some((volume) => volume.name === name),
      name,
    );
  const [[file, config]] = Object.entries(byKind('ConfigMap').data) as [[string, string]];
  assert.deepEqual(container.args, ['serve', '--config', `/etc/eplb/config/${file}`]);
  const mounts: string[] = container.volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath);
  const { state, tokenFile, tls } = parse(config);
  for (const path of [state, tokenFile, tls.cert, tls.key]) {
    assert.ok(
      mounts.some((mount) => path === mount || path.startsWith(`${mount}/`)),
      path,
    );
  }
  await inTempDir(async (dir) => {
    await writeFile(join(dir, file), config.replace(tokenFile, join(dir, 'token')));
    const checked = await checkedConfig(['serve', '--config', join(dir, file)], dir);
    assert.deepEqual([checked.listen, checked.token], ['0.0.0.0:8770', '(set)']);
  });
});

test('systemd takes the unit, and the service what the unit starts', async () => {
  const unit = await read('eplb.service');
  const line = /^ExecStart=\/usr\/local\/bin\/eplb (.*)$/m.exec(unit)![1]!;
  await inTempDir(async (dir) => {
    const args = line
      .replace(`\${STATE_DIRECTORY}`, dir)
      .replace(`\${CREDENTIALS_DIRECTORY}`, dir)
      .split(' ');
    const { listen, state } = await checkedConfig(args, dir);
    assert.deepEqual([listen, state], ['127.0.0.1:8770', dir]);
    if (!existsSync('/usr/bin/systemd-analyze')) return;
    const path = join(dir, 'eplb.service');
    await writeFile(path, unit.replace('/usr/local/bin/eplb', process.execPath));
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
    assert.deepEqual({ status, said: stdout + stderr }, { status: 0, said: '' });
  });
});

test('Prometheus takes its configuration, with the alert rules beside it', async () => {
  await inTempDir(async (dir) => {
    const config = (await read('prometheus.yml')).replace('/run/secrets/token', join(dir, 'token'));
    await writeFile(join(dir, 'token'), TOKEN);
    await writeFile(join(dir, 'prometheus.yml'), config);
    const rules = await readFile(join(ROOT, 'dashboards/eplb-alerts.yml'));
    await writeFile(join(dir, 'eplb-alerts.yml'), rules);
    assert.match(rules.toString(), new RegExp(`job="${parse(config).scrape_configs[0].job_name}"`));
    if (!hasPromtool()) return;
    const { code, said } = promtool(['check', 'config', join(dir, 'prometheus.yml')]);
    assert.equal(code, 0, said);
  });
});

test('the Dockerfile copies what there is, and is named where it is said how to build it', async () => {
  const text = await read('Dockerfile');
  const copied = [...text.matchAll(/^COPY (?!--from)(\S+) /gm)].map(([, path]) => path!);
  assert.deepEqual(copied, ['.', 'recordings']);
  for (const path of copied) assert.ok(existsSync(join(ROOT, path)), path);
  const ignored = (await readFile(join(ROOT, '.dockerignore'), 'utf8')).trim().split('\n');
  assert.deepEqual(
    ignored.filter((path) => copied.includes(path)),
    [],
  );
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  for (const [, name] of text.matchAll(/npm run (\w+)/g)) assert.ok(scripts[name!], name);
});

test('tests that the page on security names are there', async () => {
  const page = pages().find(({ path }) => path === 'docs/security.md')!;
  assert.deepEqual(
    blocksOf(page).map(({ language }) => language),
    ['sh'],
  );
  const named = [...page.text.matchAll(/"([^"]+)" in\s+`(test\/[\w/.-]+)`/g)];
  assert.ok(named.length >= 10, `${named.length} tests`);
  for (const [, name, file] of named) {
    const words = name!.replaceAll(/\s+/g, ' ');
    const source = await readFile(join(ROOT, file!), 'utf8');
    assert.ok(source.replaceAll("\\'", "'").includes(words), `${words} is not in ${file}`);
  }
});

test('what is in the folder is described', async () => {
  const { text } = pages().find(({ path }) => path === 'docs/deploy.md')!;
  for (const file of await readdir(join(ROOT, 'deploy'))) {
    if (file !== 'token') assert.ok(text.includes(`../deploy/${file})`), file);
  }
});
