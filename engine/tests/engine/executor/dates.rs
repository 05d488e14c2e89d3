//! `dateFns`: patterns in both directions, as date-fns 2 understands them, and reckoning with dates.

use serde_json::json;

use super::{
    language::{check_values, value},
    rehearsal::run,
};

/// A pattern, and how it shows 3 January 2021, 0:05:09.075.
const SHOWN: &[(&str, &str)] = &[
    ("y yy yyyy yyyyy yo u", "2021 21 2021 02021 2021st 2021"),
    ("R I II Io", "2020 53 53 53rd"),
    ("w ww wo", "2 02 2nd"),
    ("G GGGG GGGGG", "AD Anno Domini A"),
    ("Q QQ Qo QQQ QQQQ", "1 01 1st Q1 1st quarter"),
    ("M MM Mo MMM MMMM MMMMM LLL", "1 01 1st Jan January J Jan"),
    ("d dd do DDD Do", "3 03 3rd 003 3rd"),
    ("E EEEE EEEEE EEEEEE e i ii", "Sun Sunday S Su 1 7 07"),
    ("a aaa aaaa aaaaa b B", "AM am a.m. a midnight at night"),
    ("h hh H HH K k kk", "12 12 0 00 0 24 24"),
    ("m mm s ss S SS SSS SSSS", "5 05 9 09 0 07 075 0750"),
    ("P", "01/03/2021"),
    ("PP", "Jan 3, 2021"),
    ("PPP", "January 3rd, 2021"),
    ("PPPP", "Sunday, January 3rd, 2021"),
    ("p", "12:05 AM"),
    ("pp", "12:05:09 AM"),
    ("Pp", "01/03/2021, 12:05 AM"),
    ("PPPp", "January 3rd, 2021 at 12:05 AM"),
    ("'y'yyyy''MM 'o''clock'", "y2021'01 o'clock"),
    ("yyyy-MM-dd\nHH", "2021-01-03\n00"),
];

#[test]
fn each_letter_of_a_pattern_shows_its_part_of_a_date() {
    let date = "new Date(2021, 0, 3, 0, 5, 9, 75)";
    let table = SHOWN
        .iter()
        .map(|(pattern, shown)| value(&format!("dateFns.format({date}, {})", json!(pattern)), json!(shown)));
    check_values(table.collect());
    check_values(vec![
        value(
            "dateFns.format(new Date(2026, 0, 1), 'YYYY-w', { useAdditionalWeekYearTokens: true, weekStartsOn: 1, firstWeekContainsDate: 4 })",
            json!("2026-1"),
        ),
        value("dateFns.format(1767225600123, 't T')", json!("1767225600 1767225600123")),
    ]);
}

/// A text, the pattern that it is read by, and what that gives from 15 May 2024, 16:07:08 on.
const READ: &[(&str, &str, &str)] = &[
    ("07:08", "HH:mm", "2024-05-15 07:08:00.000"),
    ("7", "d", "2024-05-07 00:00:00.000"),
    ("March", "MMMM", "2024-03-01 00:00:00.000"),
    ("99", "yy", "1999-01-01 00:00:00.000"),
    ("26", "yy", "2026-01-01 00:00:00.000"),
    ("1st of Feb 2026", "do 'of' MMM y", "2026-02-01 00:00:00.000"),
    ("February 1st, 2026", "PPP", "2026-02-01 00:00:00.000"),
    ("02/01/2026, 2:05 PM", "Pp", "2026-02-01 14:05:00.000"),
    ("Q3 2025", "QQQ yyyy", "2025-07-01 00:00:00.000"),
    ("12 noon", "h b", "2024-05-15 12:00:00.000"),
    ("Friday", "EEEE", "2024-05-17 00:00:00.000"),
    ("060 2024", "DDD yyyy", "2024-02-29 00:00:00.000"),
    ("20260131", "yyyyMMdd", "2026-01-31 00:00:00.000"),
    ("1767225600.5", "t.S", "refused"),
    ("9:60", "H:mm", "invalid"),
    ("30 Feb 2026", "d MMM y", "invalid"),
    ("2026-01-31 x", "yyyy-MM-dd", "invalid"),
    ("24", "HH", "invalid"),
    ("5", "ww", "`ww` is not supported here in a pattern that a date is read by"),
    ("5", "e", "`e` is not supported here in a pattern that a date is read by"),
    ("5", "N", "Format string contains an unescaped latin alphabet character `N`"),
    ("5", "YYYY", "Use `yyyy` instead of `YYYY` (in `YYYY`) for formatting years to the input `5`"),
    ("5 AM", "H a", "The format string mustn't contain `H` and `a` at the same time"),
];

#[test]
fn a_text_is_read_by_its_pattern_from_the_date_of_reference_on() {
    for (text, pattern, expected) in READ {
        let body = format!(
            "fn(s => {{ try {{ \
                const date = dateFns.parse({}, {}, new Date(2024, 4, 15, 16, 7, 8)); \
                return {{ r: dateFns.isValid(date) ? dateFns.format(date, 'yyyy-MM-dd HH:mm:ss.SSS') : 'invalid' }}; \
            }} catch (error) {{ return {{ r: error.message, kind: error.name }}; }} }})",
            json!(text),
            json!(pattern),
        );
        let state = run(&body, json!({})).state();
        if *expected == "refused" {
            assert_eq!(state["kind"], "RangeError", "{text} by {pattern}: {state}");
        } else {
            assert_eq!(state["r"], *expected, "{text} by {pattern}");
        }
    }
}

#[test]
fn dates_are_formatted_read_and_reckoned_with() {
    let day = "new Date(2026, 0, 31, 14, 3, 9, 5)";
    let shown = |expression: &str, expected: &str| {
        let text = format!("dateFns.format({expression}, \"yyyy-MM-dd'T'HH:mm:ss.SSS\")");
        value(&text, json!(expected))
    };
    check_values(vec![
        value(
            &format!("dateFns.format({day}, 'd MMM yyyy, h:mm a (EEEE) yy')"),
            json!("31 Jan 2026, 2:03 PM (Saturday) 26"),
        ),
        shown("dateFns.parse('05/02/2026 07:08', 'dd/MM/yyyy HH:mm', new Date())", "2026-02-05T07:08:00.000"),
        shown(
            "dateFns.parse('Feb 5, 26 1:08 pm', 'MMM d, yy h:mm a', new Date())",
            "2026-02-05T13:08:00.000",
        ),
        value(
            "dateFns.parse('2026-02-05T07:08+02:00', \"yyyy-MM-dd'T'HH:mmxxx\", new Date()).toISOString()",
            json!("2026-02-05T05:08:00.000Z"),
        ),
        value("dateFns.isValid(dateFns.parse('31/02/2026', 'dd/MM/yyyy', new Date()))", json!(false)),
        shown(&format!("dateFns.addMonths({day}, 1)"), "2026-02-28T14:03:09.005"),
        shown(&format!("dateFns.subYears({day}, 1)"), "2025-01-31T14:03:09.005"),
        shown(&format!("dateFns.addDays({day}, 1)"), "2026-02-01T14:03:09.005"),
        shown(&format!("dateFns.subHours({day}, 15)"), "2026-01-30T23:03:09.005"),
        shown(&format!("dateFns.startOfMonth({day})"), "2026-01-01T00:00:00.000"),
        shown(&format!("dateFns.endOfDay({day})"), "2026-01-31T23:59:59.999"),
        shown(&format!("dateFns.endOfYear({day})"), "2026-12-31T23:59:59.999"),
        shown("dateFns.parseISO('2026-03-04')", "2026-03-04T00:00:00.000"),
        value(&format!("dateFns.differenceInDays({day}, new Date(2026, 0, 29, 15))"), json!(1)),
        value(&format!("dateFns.differenceInMinutes({day}, new Date(2026, 0, 31, 14))"), json!(3)),
        value(
            &format!(
                "[dateFns.isAfter({day}, 0), dateFns.isBefore({day}, 0), dateFns.isSameDay({day}, {day})]"
            ),
            json!([true, false, true]),
        ),
        value(
            "(() => { try { dateFns.format(new Date(NaN), 'y') } catch (e) { return e.message } })()",
            json!("Invalid time value"),
        ),
    ]);
}
