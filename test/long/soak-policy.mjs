// The heaviest expert of each layer gets all redundant slots.
export const policy = {
  name: 'heaviest',
  rebalanceExperts({ data, numLayers, numExperts }, numReplicas) {
    const phyToLog = Array.from({ length: numLayers }, (_, layer) => {
      const loads = data.slice(layer * numExperts, (layer + 1) * numExperts);
      const heaviest = loads.indexOf(Math.max(...loads));
      return Array.from({ length: numReplicas }, (_, slot) => (slot < numExperts ? slot : heaviest));
    });
    return { phyToLog, numLogicalExperts: numExperts };
  },
};
