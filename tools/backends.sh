#!/usr/bin/env bash
# The README's table of backends, made of what test runs left.
#
#   tools/backends.sh record BACKEND DEVICE   puts the last run into benches/backends.csv, then as `table`
#   tools/backends.sh table                   writes the table into README.md
#   tools/backends.sh check                   fails if the table there is not that of benches/backends.csv
#
# The last run is that of `cargo nextest run --profile record ..`; BACKEND is the first column of benches/backends.csv, and
# DEVICE says what it ran on, as in: tools/backends.sh record 'wgpu (WGSL)' 'software Vulkan (lavapipe)'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

results=benches/backends.csv
new=$(mktemp)
trap 'rm -f "$new"' EXIT

# Tests that only say `skipped:`, for this device or another, have not passed.
record() {
    local junit=target/nextest/record/junit.xml
    if [ ! -e "$junit" ]; then
        echo "$junit is not there: run the tests with cargo nextest run --profile record" >&2
        return 1
    fi
    if ! cut -d ';' -f 1 "$results" | grep -qxF "$1"; then
        echo "no backend '$1' in $results; there are: $(cut -d ';' -f 1 "$results" | sed 1d | paste -sd ';')" >&2
        return 1
    fi
    local counts
    counts=$(awk '
        BEGIN { RS = "<testcase " }
        NR == 1 { next }
        /<(failure|error)[ >]/ { failed++; next }
        /<skipped|\nskipped: / { skipped++; next }
        { passed++ }
        END { printf "%d;%d;%d", passed, skipped, failed }' "$junit")
    awk -F ';' -v OFS=';' -v backend="$1" -v device="$2" -v date="$(date -r "$junit" +%F)" -v counts="$counts" \
        '$1 == backend { print $1, $2, $3, device, date, counts; next } { print }' "$results" >"$new"
    cp "$new" "$results"
    echo "$1 on $2: $counts (passed; skipped; failed)"
}

# The README with the table of the results between its two marks.
readme() {
    awk -F ';' -v results="$results" '
        function features(list, names) {
            gsub(/, /, "`, `", list)
            return "`" list "`"
        }
        function tests(passed, failed, on) {
            if (passed == "") return on == "" ? "not run" : "not counted"
            return passed " passed" (failed > 0 ? ", " failed " failed" : "")
        }
        /^<!-- backends: end -->/ { skipping = 0 }
        !skipping { print }
        /^<!-- backends: from/ {
            skipping = 1
            print "| backend | feature | operators | tests | on |"
            print "|---|---|---|---|---|"
            getline line < results
            while ((getline line < results) > 0) {
                split(line, r, ";")
                on = r[4] (r[5] == "" ? "" : ", " r[5])
                print "| " r[1] " | " features(r[2]) " | " r[3] " | " tests(r[6], r[8], on) " | " on (on == "" ? "|" : " |")
            }
        }' README.md
}

case ${1-} in
record)
    record "${2:?BACKEND is missing}" "${3:?DEVICE is missing}"
    readme >"$new" && cp "$new" README.md
    ;;
table)
    readme >"$new" && cp "$new" README.md
    ;;
check)
    readme >"$new"
    if ! diff README.md "$new"; then
        echo "README.md: the table of backends is not that of $results; tools/backends.sh table writes it" >&2
        exit 1
    fi
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
