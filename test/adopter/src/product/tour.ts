/** The plans of the two tenants that `npm run dev` makes. */
export const TOUR_PLANS = { acme: "startup", globex: "solo" } as const;

/** Comments, and commands for a POSIX shell with curl; $ADA and $BOB are the access tokens of the two owners. */
export const productTour = (api: string): string => `
  # create a note in acme, and list acme's notes
  curl -s ${api}/v1/notes -H "authorization: Bearer $ADA" -H 'content-type: application/json' -d '{"text":"Tiles are late."}'; echo
  curl -s ${api}/v1/notes -H "authorization: Bearer $ADA"; echo

  # create a customer and an invoice with its lines: its total is 100.30, exactly
  CUSTOMER=$(curl -s ${api}/v1/customers -H "authorization: Bearer $ADA" -H 'content-type: application/json' -d '{"name":"Roofers"}' | sed 's/.*"id":"\\([^"]*\\)".*/\\1/'); echo $CUSTOMER
  INVOICE=$(curl -s ${api}/v1/invoices -H "authorization: Bearer $ADA" -H 'content-type: application/json' -H 'idempotency-key: tour-1' -d '{"customer_id":"'$CUSTOMER'","currency":"EUR","lines":[{"description":"Nail","quantity":"1","unit_price":"0.10"},{"description":"Screw","quantity":"1","unit_price":"0.20"},{"description":"Tiles","quantity":"33.333","unit_price":"3.00"}]}' | sed 's/.*"id":"\\([^"]*\\)".*/\\1/'); echo $INVOICE

  # send it, and see the month's sum
  curl -s -X PATCH ${api}/v1/invoices/$INVOICE -H "authorization: Bearer $ADA" -H 'content-type: application/json' -d '{"status":"sent"}'; echo
  curl -s "${api}/v1/reports/monthly?currency=EUR" -H "authorization: Bearer $ADA"; echo

  # globex cannot tell acme's invoice from one that does not exist: the same 404
  curl -si ${api}/v1/invoices/$INVOICE -H "authorization: Bearer $BOB"; echo
`;
