#!/usr/bin/env bash
# Asks a running platform over HTTP whether it is all right. `./test_api.sh --help` says how.
set -uo pipefail

usage() {
  cat <<'END'
Checks a running platform, from outside, in a few seconds: health, documentation, accounts, predictions, latency.

    ./test_api.sh

It needs bash, curl and python3. It makes one account, named smoke-..., and prints no password and no token.
Exit code 0: everything holds. 1: something does not, or nothing answers. 2: it was called wrongly.

Environment:
  API_URL            api-server                                      (http://127.0.0.1:8000)
  ML_URL             ml-service                                      (http://127.0.0.1:8001)
  WEB_URL            the front door, nginx; checked too if set       (empty)
  LATENCY_LIMIT_MS   what 95 of 100 predictions have to stay below   (500)
  CURL_OPTIONS       more options for curl, for instance -k          (empty)
END
}

api=${API_URL:-http://127.0.0.1:8000}
ml=${ML_URL:-http://127.0.0.1:8001}
web=${WEB_URL:-}
api=${api%/} ml=${ml%/} web=${web%/}
limit_ms=${LATENCY_LIMIT_MS:-500}
measured=30
json_type='Content-Type: application/json'
row='{"feature1": 0.5, "feature2": 1.2, "feature3": -0.3, "feature4": 2.0}'
other_row='{"feature1": -1, "feature2": -1.5, "feature3": 2, "feature4": 0}'

case ${1:-} in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
if ! [[ $limit_ms =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
  echo "LATENCY_LIMIT_MS must be a number of milliseconds, and is '$limit_ms'." >&2
  exit 2
fi
for tool in curl python3; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is needed and not installed." >&2
    exit 2
  fi
done

umask 077 # tokens and passwords pass through files that only we can read, never through a command line
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
read -ra more_options <<<"${CURL_OPTIONS:-}"
curl=(curl --disable --silent --show-error --max-time 30 ${more_options[@]+"${more_options[@]}"})

# --- Telling ---

passed=0 failed=0 skipped=0

section() { printf '\n%s\n' "$1"; }
note() { printf '    %s\n' "$1"; }

pass() {
  printf '  ✓ %s\n' "$1"
  passed=$((passed + 1))
}

fail() { # WHAT EXPECTED CAME
  printf '  ✗ %s\n      expected: %s\n      came:     %s\n' "$1" "$2" "$3"
  failed=$((failed + 1))
}

skip() {
  printf '  - %s; skipped: demo models are off\n' "$1"
  skipped=$((skipped + 1))
}

# --- Asking ---

# request METHOD URL [OPTION OF CURL...] sets `status` (000: no answer) and `media`, and fills the files body, headers
# and error. A 429 is waited out once.
request() {
  ask "$@"
  if [[ $status == 429 ]]; then
    wait_as_told
    ask "$@"
  fi
}

ask() {
  local method=$1 url=$2 told
  shift 2
  : >"$work/body"
  : >"$work/headers"
  told=$("${curl[@]}" --request "$method" --output "$work/body" --dump-header "$work/headers" \
    --write-out '%{http_code} %{content_type}' "$@" "$url" 2>"$work/error")
  read -r status media <<<"$told"
  status=${status:-000} media=${media%%;*}
}

wait_as_told() {
  local seconds
  seconds=$(sed -n 's/^retry-after: *\([0-9]\{1,4\}\).*/\1/Ip' "$work/headers" | tail -n 1)
  seconds=$((${seconds:-1} < 60 ? ${seconds:-1} : 60))
  note "too many requests (429): waiting $seconds s"
  sleep "$seconds"
}

# json EXPRESSION: the value of a Python expression about the answer `a`; fails, and says why, if there is none.
json() {
  python3 -IS -c '
import json, sys

def refuse(constant):
    raise ValueError(f"{constant} is not JSON")

try:
    with open(sys.argv[1], encoding="utf-8") as file:
        a = json.load(file, parse_constant=refuse)
    value = eval(sys.argv[2])
except Exception as error:
    sys.exit(print(f"{type(error).__name__}: {error}") or 1)
print(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
' "$work/body" "$1"
}

# What came, in words. Of a body only the sentences of a problem are repeated: the rest might be a secret.
came() {
  if [[ $status == 000 ]]; then
    printf 'no answer: %s' "$(head -n 1 "$work/error")"
  elif [[ $media == application/problem+json ]]; then
    printf 'HTTP %s, %s' "$status" "$(json 'a["title"] + ": " + a["detail"]')"
  else
    printf 'HTTP %s, %s' "$status" "${media:-no content type}"
  fi
}

# gets WHAT STATUS METHOD URL [OPTION...]: the answer has this status and is valid JSON; an error is a problem.
gets() {
  local what=$1 wanted=$2 wrong
  shift 2
  request "$@"
  if [[ $status != "$wanted" ]]; then
    fail "$what" "HTTP $wanted" "$(came)"
  elif [[ $wanted != 204 ]] && ! wrong=$(json '"valid"'); then
    fail "$what" "HTTP $wanted with valid JSON" "HTTP $status, $media, $wrong"
  elif ((wanted >= 400)) && [[ $media != application/problem+json ]]; then
    fail "$what" "HTTP $wanted, application/problem+json" "$(came)"
  else
    pass "$what: $status"
    return 0
  fi
  return 1
}

# holds WHAT CONDITION SHOWN: a Python condition about the last answer; SHOWN is printed, so it must not be secret.
holds() {
  local truth shown
  truth=$(json "bool($2)")
  if shown=$(json "$3") && [[ $truth == true ]]; then
    pass "$1: $shown"
  else
    fail "$1" "$2" "$shown"
    return 1
  fi
}

# page WHAT URL TEXT: HTML that holds TEXT
page() {
  request GET "$2"
  if [[ $status != 200 || $media != text/html ]]; then
    fail "$1" "HTTP 200, text/html" "$(came)"
  elif ! grep -qF -- "$3" "$work/body"; then
    fail "$1" "a page with '$3'" "HTTP 200, another page"
  else
    pass "$1: 200, HTML"
    return 0
  fi
  return 1
}

# --- What is checked ---

health() { # NAME URL
  local name ok detail
  gets "$1 is alive" 200 GET "$2/health"
  request GET "$2/health/ready"
  if ! json '"\n".join(" ".join([name, str(each["ok"]), each["detail"]]) for name, each in a["checks"].items())' \
    >"$work/checks"; then
    fail "$1 says whether it is ready" "HTTP 200 with checks" "$(came)"
    return
  fi
  while read -r name ok detail; do
    if [[ $ok == True ]]; then
      pass "$1, $name: $detail"
    else
      fail "$1, $name" "ok" "$detail"
    fi
  done <"$work/checks"
  if [[ $status == 200 ]]; then
    pass "$1 is ready: 200"
  else
    fail "$1 is ready" "HTTP 200" "HTTP $status"
  fi
}

# documentation NAME URL PATH: the page brings what it needs, and describes the service that PATH belongs to.
documentation() {
  local script document origin=$2
  [[ $2 =~ ^https?://[^/]+ ]] && origin=${BASH_REMATCH[0]}
  page "$1 has a documentation page" "$2/docs" swagger-ui || return
  script=$(sed -n 's/.*<script src="\([^"]*\)".*/\1/p' "$work/body" | head -n 1)
  document=$(sed -n "s/.*url: ['\"]\([^'\"]*\)['\"].*/\1/p" "$work/body" | head -n 1)
  brings "its page brings its script, $script" "$origin$script" javascript
  if gets "its page describes $document" 200 GET "$origin$document"; then
    holds "that is $1" "'$3' in a['paths']" '[a["info"]["title"], "%d paths" % len(a["paths"])]'
  fi
  gets "$1 has /openapi.json" 200 GET "$2/openapi.json"
}

# brings WHAT URL KIND: a file of this kind
brings() {
  request GET "$2"
  if [[ $status == 200 && $media == *"$3" ]]; then
    pass "$1: $media"
  else
    fail "$1" "HTTP 200, $3" "$(came)"
  fi
}

accounts() {
  local name
  name=$(python3 -IS -c '
import json, secrets, sys, urllib.parse
name, password = f"smoke-{secrets.token_hex(6)}", secrets.token_urlsafe(18)
files = {
    "account": json.dumps({"username": name, "email": f"{name}@example.com", "password": password}),
    "login": urllib.parse.urlencode({"username": name, "password": password}),
    "wrong": urllib.parse.urlencode({"username": name, "password": "not the password"}),
}
for file, text in files.items():
    with open(f"{sys.argv[1]}/{file}", "w") as opened:
        opened.write(text)
print(name)
' "$work")
  if gets "registration of $name" 201 POST "$api/api/v1/auth/register" -H "$json_type" -d "@$work/account"; then
    holds "the new account" "a['username'] == '$name' and a['is_active']" '[a["username"], a["role"]]'
  fi
  gets "the same registration again" 409 POST "$api/api/v1/auth/register" -H "$json_type" -d "@$work/account"
  gets "a wrong password" 401 POST "$api/api/v1/auth/token" -d "@$work/wrong"
  gets "no token" 401 GET "$api/api/v1/auth/me"
  : >"$work/bearer"
  if ! gets "login" 200 POST "$api/api/v1/auth/token" -d "@$work/login"; then
    note "what needs a token is not checked"
    return
  fi
  keep_tokens
  if gets "a call with the token" 200 GET "$api/api/v1/auth/me" -H "@$work/bearer"; then
    holds "it knows who calls" "a['username'] == '$name'" 'a["username"]'
  fi
  if gets "refresh" 200 POST "$api/api/v1/auth/refresh" -H "$json_type" -d "@$work/refresh"; then
    cp "$work/refresh" "$work/old"
    keep_tokens
    if cmp -s "$work/refresh" "$work/old"; then
      fail "refresh gives another refresh token" "a new one" "the same one"
    else
      pass "refresh gives another refresh token"
    fi
    gets "a call with the new token" 200 GET "$api/api/v1/auth/me" -H "@$work/bearer"
  fi
}

keep_tokens() {
  json '"Authorization: Bearer " + a["access_token"]' >"$work/bearer"
  json '{"refresh_token": a["refresh_token"]}' >"$work/refresh"
}

# The demo models may be switched off. If they cannot even be listed, that is another matter.
is_off() { [[ $listed == '['* && $listed != *"\"$1\""* ]]; }

# predicts WHAT PATH BODY: 0 if there is a prediction to look at
predicts() {
  local wrong
  request POST "$ml/predict/$2" -H "$json_type" -d "$3"
  if [[ $status == 401 || $status == 404 ]] && is_off "${2%%/*}"; then
    skip "$1"
  elif [[ $status != 200 ]]; then
    fail "$1" "HTTP 200" "$(came)"
  elif ! wrong=$(json '"valid"'); then
    fail "$1" "HTTP 200 with valid JSON" "$wrong"
  else
    pass "$1: 200"
    return 0
  fi
  return 1
}

predictions() {
  gets "the list of models" 200 GET "$ml/models" && listed=$(json '[each["name"] for each in a["models"]]')
  gets "numbers of the service" 200 GET "$ml/stats" &&
    holds "numbers of all models together" 'a["global"]["total_requests"] >= 0' 'a["global"]["total_requests"]'

  if predicts "demo_model_1, with probabilities" demo_model_1 "{\"input_data\": $row, \"return_probabilities\": true}"; then
    holds "its labels" 'sorted(a["probabilities"]) == ["0", "1"]' 'sorted(a["probabilities"])'
    holds "its probabilities add up to 1" 'abs(sum(a["probabilities"].values()) - 1) <= 1e-6' 'sum(a["probabilities"].values())'
    holds "its confidence is the largest of them" 'a["confidence_score"] == max(a["probabilities"].values())' \
      '[a["confidence_score"], a["probabilities"]]'
    holds "its prediction is the likeliest label" \
      'str(a["prediction"]) == max(a["probabilities"], key=a["probabilities"].get)' 'a["prediction"]'
    holds "it names version and time" 'a["metadata"]["model_version"] >= 1 and a["processing_time"] > 0 and a["prediction_id"]' \
      '"version %s, %s ms" % (a["metadata"]["model_version"], a["processing_time"])'
  fi
  if predicts "demo_model_2, a regression" demo_model_2 "{\"input_data\": $row}"; then
    holds "its prediction is a number" 'isinstance(a["prediction"], (int, float)) and not isinstance(a["prediction"], bool)' \
      'a["prediction"]'
    holds "it has neither confidence nor probabilities" 'a["confidence_score"] is a["probabilities"] is None' \
      '[a["confidence_score"], a["probabilities"]]'
  fi
}

# refuses WHAT STATUS PATH BODY: a problem; 0 if there is one to look at
refuses() {
  if is_off "${3%%/*}"; then
    skip "$1"
    return 1
  fi
  gets "$1" "$2" POST "$ml/predict/$3" -H "$json_type" -d "$4"
}

bad_predictions() {
  local pointers='[each["pointer"] for each in a["errors"]]'
  if refuses "text for a number, a field missing" 422 demo_model_1 \
    '{"input_data": {"feature1": "0.5", "feature2": 1.2, "feature4": 2}}'; then
    holds "both errors have a pointer" "sorted($pointers) == ['/input_data/feature1', '/input_data/feature3']" "$pointers"
    holds "the problem can be named" 'a["status"] == 422 and a["request_id"] and a["code"]' 'a["code"]'
  fi
  refuses "what is not JSON" 400 demo_model_1 '{"input_data": '
  gets "a model that nobody has, without a token" 401 POST "$ml/predict/no-such-model" -H "$json_type" -d '{"input_data": {}}'
}

batch() {
  local body="{\"inputs\": [$row, $other_row, $row], \"return_probabilities\": true}"
  if predicts "three rows in one request" demo_model_1/batch "$body"; then
    holds "an answer for each" 'len(a["predictions"]) == 3' 'len(a["predictions"])'
    holds "in the order of the rows" '[str(each["prediction"]) for each in a["predictions"]] == ["1", "0", "1"]' \
      '[each["prediction"] for each in a["predictions"]]'
    holds "each row's probabilities add up to 1" \
      'all(abs(sum(each["probabilities"].values()) - 1) <= 1e-6 for each in a["predictions"])' \
      '[sum(each["probabilities"].values()) for each in a["predictions"]]'
  fi
  if refuses "a bad row among good ones" 422 demo_model_1/batch "{\"inputs\": [$row, {\"feature1\": null}]}"; then
    holds "only the bad row is named" '{each["row"] for each in a["errors"]} == {1}' 'sorted({each["row"] for each in a["errors"]})'
  fi
}

latency() {
  if is_off demo_model_1; then
    skip "how long a prediction takes"
    return
  fi
  measure
  if grep -q '^429' "$work/times"; then
    wait_as_told
    measure
  fi
  # What curl wrote, lines of `status seconds`, becomes an answer like the others.
  python3 -IS -c '
import json, statistics, sys
lines = [line.split() for line in sys.stdin]
ms = sorted(float(seconds) * 1000 for _, seconds in lines) or [0]
slow = ms[-(-95 * len(ms) // 100) - 1]
found = {"statuses": [status for status, _ in lines], "median_ms": round(statistics.median(ms), 1), "p95_ms": round(slow, 1)}
json.dump(found, sys.stdout)
' <"$work/times" >"$work/body"
  holds "each of $measured predictions in a row is answered" "a['statuses'] == ['200'] * $measured" \
    '"%d times 200" % a["statuses"].count("200")' || return
  holds "95 of 100 take at most $limit_ms ms" "a['p95_ms'] <= $limit_ms" \
    '"median %s ms, p95 %s ms" % (a["median_ms"], a["p95_ms"])'
}

measure() {
  local targets=() each
  for ((each = 0; each < measured; each++)); do
    targets+=(--output /dev/null "$ml/predict/demo_model_1")
  done
  "${curl[@]}" --fail-early --dump-header "$work/headers" --write-out '%{http_code} %{time_total}\n' \
    -H "$json_type" -d "{\"input_data\": $row}" "${targets[@]}" >"$work/times" 2>"$work/error"
}

front_door() {
  local path
  page "/ is the landing page" "$web/" assets/status.js
  brings "/assets/status.js" "$web/assets/status.js" javascript
  brings "/assets/style.css" "$web/assets/style.css" css
  gets "/health/ready is api-server's" 200 GET "$web/health/ready" &&
    holds "its checks" '"postgres" in a["checks"]' 'sorted(a["checks"])'
  gets "/ml/health/ready is ml-service's" 200 GET "$web/ml/health/ready" &&
    holds "its checks" '"desired_state" in a["checks"]' 'sorted(a["checks"])'
  gets "/api/ without a token" 401 GET "$web/api/v1/auth/me"
  if [[ -s $work/bearer ]]; then
    gets "/api/ with a token" 200 GET "$web/api/v1/auth/me" -H "@$work/bearer"
  fi
  gets "/ml/models" 200 GET "$web/ml/models"
  if is_off demo_model_1; then
    skip "/ml/predict"
  else
    gets "/ml/predict" 200 POST "$web/ml/predict/demo_model_1" -H "$json_type" -d "{\"input_data\": $row}"
  fi
  documentation api-server "$web" /api/v1/auth/token
  documentation ml-service "$web/ml" '/predict/{model}'
  for path in /internal/serving/state /internal/jobs /metrics /ml/internal /ml/metrics; do
    request GET "$web$path"
    if [[ $status == 404 ]]; then
      pass "$path is not open to the world: 404"
    else
      fail "$path is not open to the world" "HTTP 404" "$(came)"
    fi
  done
}

# --- From here on it runs ---

listed=unknown
ask GET "$api/health"
api_status=$status
api_error=$(head -n 1 "$work/error")
ask GET "$ml/health"
if [[ $api_status == 000 && $status == 000 ]]; then
  echo "Nothing answers:"
  echo "    api-server at $api: $api_error"
  echo "    ml-service at $ml: $(head -n 1 "$work/error")"
  echo "Start the platform with \`make dev\` or \`make up\` and wait until it is ready, or name another:"
  echo "    API_URL=http://HOST:PORT ML_URL=http://HOST:PORT ./test_api.sh"
  if [[ $api_error == *certificate* ]]; then
    echo "If you trust the certificate: CURL_OPTIONS='--cacert FILE', or -k to go without a check."
  fi
  exit 1
fi

section "Health"
health api-server "$api"
health ml-service "$ml"
section "Documentation"
documentation api-server "$api" /api/v1/auth/token
documentation ml-service "$ml" '/predict/{model}'
section "Accounts"
accounts
section "Predictions"
predictions
section "Bad predictions"
bad_predictions
section "Batch"
batch
section "Latency"
latency
if [[ -n $web ]]; then
  section "Front door, $web"
  front_door
fi
if [[ -s $work/bearer ]]; then
  section "Tidying up"
  gets "logout" 204 POST "$api/api/v1/auth/logout" -H "@$work/bearer"
fi

printf '\n%d passed, %d failed' "$passed" "$failed"
((skipped == 0)) || printf ' (%d skipped: demo models are off)' "$skipped"
printf '\n'
((failed == 0))
