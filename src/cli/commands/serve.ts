import { subscribe } from 'node:diagnostics_channel';
import { setFlagsFromString } from 'node:v8';
import type { Command } from 'commander';
import { isOwnError } from '../../core/errors.ts';
import { CHANNELS, type ConditionEvent } from '../../core/events.ts';
import { jsonLines, jsonText } from '../../core/printable.ts';
import { type ClusterEvent, readSettings, startService, type VllmEvent } from '../../serve/index.ts';
import { sayingErrors } from '../error-message.ts';
import { addHelpTexts } from '../help.ts';
import { EXIT_INTERRUPTED } from '../interrupt.ts';
import { serveOptions } from '../serve/config.ts';
import { type ServeFlags, sayingSources } from '../serve/option-sources.ts';
import { print } from '../terminal.ts';

/** Gives the subcommand its options, help and action. */
export function configure(command: Command): void {
  command
    .option('--config <file>', 'a configuration in YAML; it can also set limits and declare groups')
    .option(
      '--listen <address>',
      'unix:PATH, or HOST:PORT, where port 0 takes any free one (default: a socket)',
    )
    .option('--state <DIR>', 'the folder for the state; without it nothing outlives the service')
    .option('--token-file <file>', 'a file with the token that has to come with every request')
    .option('--topology <file>', 'a description of the devices, for groups without one of their own')
    .option('--tls-cert <file>', 'the certificate, in PEM')
    .option('--tls-key <file>', 'its key, in PEM')
    .option('--insecure', 'allow other machines to connect without TLS or a token')
    .option(
      '--vllm <urls>',
      "the front ends of vLLM's engines, by rank, separated by commas: dead engines are removed",
    )
    .option(
      '--etcd <urls>',
      "etcd's members, separated by commas: services with the same etcd share their groups",
    )
    .option('--advertise <url>', 'where the other services reach this one (default: the address of --listen)')
    .option('--etcd-lease <seconds>', 'how long a leader without a beat stays the leader (default: 5)')
    .option('--etcd-prefix <prefix>', 'the prefix of all keys in etcd (default: /eplb)')
    .option('--check-config', 'print the configuration that results, and end')
    .action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb serve --state eplb-state', 'on a socket that only this user can use'],
      ['eplb serve --listen 127.0.0.1:8770 --state eplb-state', 'for all users of this machine'],
      ['eplb serve --config eplb.yaml --check-config', 'to check a file'],
    ],
  });
}

async function run(flags: ServeFlags): Promise<void> {
  const options = await serveOptions(flags, process.env);
  const say = sayingSources(flags, process.env);
  if (flags.checkConfig) {
    const { address: _, ...settings } = sayingErrors(say, () => readSettings(options));
    const { token, vllmKey, etcd, ...shown } = settings;
    const hidden = {
      ...(etcd && { etcd: { ...etcd, ...(etcd.password !== undefined && { password: '(set)' }) } }),
      ...(token === undefined ? {} : { token: '(set)' }),
      ...(vllmKey === undefined ? {} : { vllmKey: '(set)' }),
    };
    return print(process.stdout, `${jsonLines({ ...shown, ...hidden })}\n`);
  }
  growMemory();
  subscribe(CHANNELS.condition, (event) => logCondition(event as ConditionEvent));
  const hooks = { onFault: logFault, onVllm: logVllm, onCluster: logCluster };
  const running = await startService(options, hooks).catch((error) =>
    sayingErrors(say, () => {
      throw error;
    }),
  );
  if (options.insecure) log('warn', 'insecure', 'other machines can reach the service without protection');
  // Before the line is out: who reads it may send the signal at once.
  const stopped = untilStopped();
  print(process.stdout, `${running.address}\n`);
  await stopped;
  log('info', 'draining', 'no more requests are accepted');
  await running.close();
  process.exit(0);
}

/**
 * Has V8 collect all memory, which holds plans up for some 20 ms, when there is four times what the last time
 * left: as it does of itself while it deems collections cheap. Else it would after each 8 MB more, buffers of
 * some dozens of questions included, which go without.
 */
function growMemory(): void {
  setFlagsFromString('--heap-growing-percent=300');
}

/** Resolves at the first SIGTERM or Ctrl-C. A second SIGTERM changes nothing; a second Ctrl-C ends it. */
function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    process.on('SIGTERM', () => resolve());
    process.once('SIGINT', () => {
      resolve();
      process.once('SIGINT', () => process.exit(EXIT_INTERRUPTED));
    });
  });
}

/** One line of JSON on standard error. */
function log(
  level: 'info' | 'warn' | 'error',
  event: string,
  message: string,
  more: Readonly<Record<string, unknown>> = {},
): void {
  print(process.stderr, `${jsonText({ time: new Date().toISOString(), level, event, message, ...more })}\n`);
}

/** What the watchdog has flagged, or flags no more. */
function logCondition({ group, epoch, type, status, reason }: ConditionEvent): void {
  const more = { group, epoch, condition: type };
  log(status ? 'info' : 'warn', status ? 'recovered' : 'degraded', `group ${group}: ${reason}`, more);
}

function logVllm({ kind, message }: VllmEvent): void {
  log(kind === 'blocked' ? 'error' : kind === 'waiting' ? 'warn' : 'info', `vllm-${kind}`, message);
}

function logCluster({ kind, message }: ClusterEvent): void {
  log(kind === 'etcd-lost' ? 'error' : kind === 'leads-no-more' ? 'warn' : 'info', kind, message);
}

function logFault(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const code = isOwnError(error) ? error.code : 'EPLB_INTERNAL';
  log('error', code, process.env.EPLB_DEBUG ? String((error as Error)?.stack ?? message) : message);
}
