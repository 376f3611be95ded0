import type { Command } from 'commander';
import { defaultListen, tokenOf } from '../serve/config.ts';
import type { ServicePlace } from './client.ts';

/** Options that say where a service is. */
export interface PlaceOptions {
  readonly url?: string;
  readonly tokenFile?: string;
}

/** Options of every command that asks a service. */
export function addPlaceOptions(command: Command): Command {
  return command
    .option(
      '--url <URL>',
      'the service: unix:PATH, http://HOST:PORT or https://HOST:PORT; when left out where eplb serve listens',
    )
    .option('--token-file <file>', "a file with the service's token, or that of the group");
}

/**
 * Where the service is: what a flag says, else a variable of the environment, else where `eplb serve` listens
 * when it is told nothing.
 *
 * @throws EplbError `EPLB_FILE`
 */
export async function placeOf(
  { url, tokenFile }: PlaceOptions,
  environment: NodeJS.ProcessEnv,
): Promise<ServicePlace> {
  const { EPLB_SERVE_URL, EPLB_SERVE_TOKEN, EPLB_SERVE_TOKEN_FILE } = environment;
  const token = await tokenOf(tokenFile, EPLB_SERVE_TOKEN || undefined, EPLB_SERVE_TOKEN_FILE || undefined);
  return {
    url: url ?? (EPLB_SERVE_URL || defaultListen(environment)),
    ...(token === undefined ? {} : { token }),
  };
}
