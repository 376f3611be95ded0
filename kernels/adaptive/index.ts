// What the module of the adaptive policy exports: apart, as it is three quarters of all that is compiled, and
// other policies never call it. As for ../index.ts, nothing here may become a data segment.

export { longestTime } from './ceiling';
export { measureChange } from './change';
export { dealToRanks } from './deal';
export { preparePairs } from './pairs';
export { prepareSamples } from './samples';
export { searchAdaptive } from './search';
export { measureSlowest } from './slowest';
export { adaptiveScratchBytes } from './state';
export { adaptiveStepCost } from './step-cost';
export * from './terms';
