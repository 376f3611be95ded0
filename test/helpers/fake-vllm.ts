import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What an engine was told. */
export interface Told {
  readonly rank: number;
  readonly body: {
    readonly instruction: string;
    readonly params: { readonly removed_dp_ranks: number[] };
    readonly request_id: string;
  };
}

/** Data-parallel engines of vLLM, of two ranks each, with a front end each: their fault API alone. */
export class FakeVllm {
  /** Of each engine what it says of itself; undefined: it answers nothing. */
  readonly engines: (Record<string, unknown> | undefined)[];
  readonly told: Told[] = [];
  /** What follows from an instruction; undefined: it is refused with 400. */
  onApply: ((told: Told) => void) | undefined = (told) => this.recover(told);
  /** Without it nothing is answered but 401. */
  key: string | undefined;
  /** Instead of the status. */
  answer: string | undefined;
  readonly #servers: readonly Server[];

  private constructor(numEngines: number) {
    this.engines = Array.from({ length: numEngines }, () => ({ status: 'healthy' }));
    this.#servers = this.engines.map((_, rank) => this.#serve(rank));
  }

  static async start(numEngines: number): Promise<FakeVllm> {
    const fake = new FakeVllm(numEngines);
    await Promise.all(
      fake.#servers.map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))),
    );
    return fake;
  }

  get urls(): readonly string[] {
    return this.#servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }

  /** An engine dies, and the others notice. */
  die(rank: number, noticedBy: readonly number[] = [...this.engines.keys()]): void {
    this.engines[rank] = undefined;
    const mask = this.engines.flatMap((engine) => (engine === undefined ? [1, 1] : [0, 0]));
    for (const other of noticedBy) {
      if (this.engines[other] !== undefined) this.engines[other] = { status: 'unhealthy', mask };
    }
  }

  /** An instruction that succeeds. */
  recover({ rank, body }: Told): void {
    this.engines[rank] = { status: 'healthy', last_ft_request_id: body.request_id };
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.closeAllConnections();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #serve(rank: number): Server {
    return createServer((request, response) => {
      const engine = this.engines[rank];
      if (engine === undefined) {
        request.socket.destroy();
        return;
      }
      if (this.key !== undefined && request.headers.authorization !== `Bearer ${this.key}`) {
        response.writeHead(401).end();
        return;
      }
      if (request.method === 'GET' && request.url === '/v1/fault_tolerance/status') {
        const status = { schema_version: 1, total_engines: 1, engines: [{ id: rank, ...engine }] };
        response.end(this.answer ?? JSON.stringify(status));
        return;
      }
      let text = '';
      request.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      request.on('end', () => {
        const told: Told = { rank, body: JSON.parse(text) };
        this.told.push(told);
        response.statusCode = request.url === '/v1/fault_tolerance/apply' && this.onApply ? 202 : 400;
        response.end(JSON.stringify({ request_id: told.body.request_id }));
        this.onApply?.(told);
      });
    });
  }
}
