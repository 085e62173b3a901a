/** The plans of the two tenants that `npm run dev` makes. */
export const TOUR_PLANS = { acme: "startup", globex: "solo" } as const;

/**
 * What `npm run dev` shows of the product: comments, and commands for a POSIX shell with curl, one a line. $ADA is the
 * access token of acme's owner, $BOB that of globex's.
 */
export const productTour = (api: string): string => `
  # create a project in acme, and list acme's projects
  PROJECT=$(curl -s ${api}/v1/projects -H "authorization: Bearer $ADA" -H 'content-type: application/json' -d '{"name":"Roof"}' | sed 's/.*"id":"\\([^"]*\\)".*/\\1/'); echo $PROJECT
  curl -s ${api}/v1/projects -H "authorization: Bearer $ADA"; echo

  # globex cannot tell acme's project from one that does not exist: the same 404
  curl -si ${api}/v1/projects/$PROJECT -H "authorization: Bearer $BOB"; echo

  # 25 requests at once on the plan solo, 20 a second: 20 answers are 200, the others 429
  sleep 1; curl -sZ --no-progress-meter -o /dev/null -w '%{http_code}\\n' "${api}/v1/projects?limit=[1-25]" -H "authorization: Bearer $BOB" | sort | uniq -c
`;
