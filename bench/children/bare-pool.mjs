// Imports piscina and has a pool of one answer, with a worker that has nothing of the library.
const start = performance.now();
const { Piscina } = await import('piscina');
const pool = new Piscina({
  filename: new URL('busy-worker.cjs', import.meta.url).href,
  name: 'busy',
  minThreads: 1,
  maxThreads: 1,
  atomics: 'disabled',
});
await pool.run(0);
process.stdout.write(JSON.stringify({ totalMs: performance.now() - start }));
await pool.destroy();
