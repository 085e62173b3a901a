/** What a stack tells its parent, one JSON object a line. */
export type Report =
  | { progress: string }
  | { ready: Ready }
  | { restarted: number } // the new postmaster's process id
  | { ended: string } // Postgres, by itself
  | { error: string; unusable: boolean };

export type Ready = {
  endpoint: string;
  postgresPort: number;
  superuserUrl: string;
  fresh: boolean;
  pids: { stack: number; postgres: number };
  /** What is to be deleted if the stack is killed before it could. */
  folders: string[];
};

/** A report for people. */
export function describeReport(report: Report): string {
  if ("progress" in report) return report.progress;
  if ("restarted" in report) return "PostgreSQL has restarted";
  if ("ended" in report) return report.ended;
  if ("error" in report) return report.error;
  const { endpoint, superuserUrl } = report.ready;
  return [
    `SQL over HTTP: ${endpoint}    neonConfig.fetchEndpoint = "${endpoint}"`,
    `PostgreSQL:    ${superuserUrl}`,
    "Ctrl-C stops both.",
  ].join("\n");
}
