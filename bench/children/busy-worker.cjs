// A worker for piscina that shares nothing with the library: it keeps its core busy for some milliseconds.
exports.busy = (ms) => {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return { ok: true };
};
