// Tokens of recorded routes, for scripts that run beside the built package.
import { openRecording } from 'expert-load-balancer/formats';

/** The tokens of all files, the next of each in turn: [tokens][layers x topK]. */
export async function readTokens(paths, numExperts) {
  const files = [];
  let shape;
  for (const path of paths) {
    const recording = await openRecording(path, { numExperts, as: 'routes' });
    const { numLayers, routes } = recording;
    const width = numLayers * routes.topK;
    shape ??= { numLayers, topK: routes.topK };
    if (shape.numLayers !== numLayers || shape.topK !== routes.topK)
      throw new Error(`${path}: is of another shape than ${paths[0]}`);
    const tokens = [];
    for await (const { ids, numTokens } of routes.read()) {
      for (let token = 0; token < numTokens; token++)
        tokens.push(Array.from(ids.subarray(token * width, (token + 1) * width)));
    }
    await recording.close();
    files.push(tokens);
  }
  const tokens = [];
  for (let at = 0; files.some((file) => at < file.length); at++)
    tokens.push(...files.flatMap((file) => (at < file.length ? [file[at]] : [])));
  return { ...shape, tokens };
}
