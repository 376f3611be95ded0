import type { MetricFamily } from '../../watch/exposition.ts';

/** How a service stands to those that share etcd with it. */
interface Standing {
  readonly leads: boolean;
  /** Of whoever leads. */
  readonly term: number | null;
  readonly isEtcdLost: boolean;
  readonly numForwarded: number;
}

/** Metrics of a service that shares etcd with others. */
export function clusterFamilies(standing: Standing): readonly MetricFamily[] {
  const { leads, term, isEtcdLost, numForwarded } = standing;
  const one = (name: string, type: 'gauge' | 'counter', help: string, value: number): MetricFamily => ({
    ...{ name, type, help },
    samples: [{ labels: {}, value }],
  });
  return [
    one('eplb_service_leads', 'gauge', 'Whether this service leads.', Number(leads)),
    one('eplb_service_term', 'gauge', 'The term of the service that leads; 0 for none.', term ?? 0),
    one('eplb_etcd_answers', 'gauge', 'Whether etcd has answered lately.', Number(!isEtcdLost)),
    one(
      'eplb_forwarded_requests',
      'counter',
      'Requests that were sent to the service that leads.',
      numForwarded,
    ),
  ];
}
