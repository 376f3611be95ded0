import { checkObject, checkWhole } from '../core/checks.ts';
import { EplbError } from '../core/errors.ts';
import { checkKnownKeys } from '../core/known-keys.ts';
import { checkSource, checkStep, stepsOf } from '../formats/check-recording.ts';
import { checkedSourceLoads } from '../formats/source-loads.ts';
import { costModel } from '../index.ts';
import { InspectTally } from './inspect-tally.ts';
import type { Inspection, InspectOptions } from './inspection.ts';
import { PlacementTally } from './placement-tally.ts';
import { RouteSteps } from './route-steps.ts';
import type { ReplaySource } from './source.ts';
import { TimeTally } from './time-tally.ts';

/**
 * Looks at all steps of a recording, once.
 *
 * @throws EplbError `EPLB_FORMAT` when it holds no step; what the source throws
 */
export async function inspect(source: ReplaySource, options: InspectOptions = {}): Promise<Inspection> {
  const { numLayers, numLogicalExperts } = checkSource(source);
  const {
    numRanks = Math.min(8, numLogicalExperts),
    numHottest = 10,
    onStep,
    steps,
    cost,
    placement,
  } = checkObject('options', options);
  checkKnownKeys('options', options, [
    'numRanks',
    'topK',
    'numHottest',
    'steps',
    'onStep',
    'cost',
    'placement',
  ]);
  checkWhole('numRanks', numRanks, 1, numLogicalExperts);
  const tally = new InspectTally(numLayers, numLogicalExperts, numRanks);
  const isEnlarged = (source.enlargedBy ?? 1) > 1;
  const times =
    cost === undefined
      ? undefined
      : new TimeTally(costModel(cost), numLayers, numLogicalExperts, numRanks, isEnlarged);
  const { routes, numSourceRanks } = source;
  const sizes = { numLayers, numLogicalExperts };
  const placed =
    placement === undefined
      ? undefined
      : new PlacementTally(placement, sizes, { hasRoutes: routes !== undefined, numSourceRanks });
  const routeSteps = placed && routes && new RouteSteps(routes, numLayers);
  for await (const step of stepsOf(source, steps)) {
    checkStep(step, numLayers, numLogicalExperts);
    const { loads, bytesRead } = step;
    tally.add(loads);
    times?.add(loads);
    const bySource = { ...sizes, numSourceRanks: numSourceRanks ?? 0 };
    placed?.addLoads(loads, placed.takesSources ? checkedSourceLoads(step, bySource) : undefined);
    await routeSteps?.read(step.step, (ids, ...tokens) => placed?.addRoutes(ids, ...tokens));
    if (onStep?.({ numSteps: tally.numSteps, bytesRead }) === false) break;
  }
  await routeSteps?.close();
  if (tally.numSteps === 0) throw new EplbError('EPLB_FORMAT', 'recording: holds no step');
  const topK = checkWhole('topK', options.topK ?? 1, 1, numLogicalExperts);
  const inspection = tally.inspection(checkWhole('numHottest', numHottest, 0), topK);
  return {
    ...inspection,
    ...(times && { time: times.inspection() }),
    ...(placed && { placement: placed.inspection(cost, source.tokensTimes) }),
  };
}
