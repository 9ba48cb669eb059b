//! What the models of the scripts say. Some of it is longer than ASCII, so that
//! characters can be split on their way.

pub(super) const REVIEW: &[&str] = &[
    "The change to the connection pool is sound, but `release` can run twice for one connection.",
    "Take `self` by value there, and the compiler forbids it.",
    "The new timeout is given in seconds while its neighbour is in milliseconds – please name the unit.",
    "The test waits for a fixed time; on a busy machine it will fail now and then.",
    "Error messages tell what went wrong, yet not which file; add the path.",
    "The rest reads well, and the documentation was changed together with the code.",
];
pub(super) const STYLE: &[&str] = &[
    "Names are consistent with the module around them.",
    "Two comments repeat what the code says and can go.",
    "The public function lacks a sentence on what it returns when the list is empty.",
];
pub(super) const COMMENT: &[&str] = &[
    "Thank you for this change!",
    "Two things before it goes in: `release` should take `self`, and the timeout needs a unit in its name.",
    "The third remark is a matter of taste, so feel free to leave it.",
];
pub(super) const GERMAN: &[&str] = &[
    "Die Lieferung erfolgt am nächsten Werktag, wenn die Bestellung bis zwölf Uhr eingeht.",
    "Für größere Mengen gelten längere Fristen; wir nennen sie vor dem Kauf.",
    "Die Rückgabe ist innerhalb von vierzehn Tagen möglich – die Kosten trägt der Händler.",
    "Prüfen Sie die Ware bitte sofort auf sichtbare Schäden.",
];
pub(super) const JAPANESE: &[&str] = &[
    "ご注文は正午までにいただければ、翌営業日にお届けします。",
    "数量が多い場合は、 購入前に納期をお知らせします。",
    "商品到着後十四日以内であれば、 返品を承ります。",
];
pub(super) const TERMS: &[&str] = &[
    "All twelve terms of the glossary are used as agreed.",
    "“Werktag” stands for business day throughout; “Frist” is kept for deadlines only.",
    "One sentence was shortened, its meaning is the same.",
];
pub(super) const SUMMARY: &[&str] = &[
    "The team releases every two weeks from September on.",
    "Each release says what changes for whom, and support gets a week's notice of anything that breaks.",
    "The old interface stays until the end of the year.",
    "Who writes the announcement is decided next time.",
    "Open is how long the two versions of the schema have to live side by side.",
];
pub(super) const PLAN: &[&str] = &[
    "First find out who measured the water level, and when.",
    "Then compare the two oldest series with the new one.",
    "Last, look for a source that explains the jump in 1983.",
];
pub(super) const REPORT: &[&str] = &[
    "The level of the lake has fallen by 41 centimetres since 1983, measured at the northern gauge.",
    "Both older series agree within 3 centimetres, so the jump is not an error of one instrument.",
    "In the same year the outlet was rebuilt, which explains most of it.",
    "One page that is often cited is gone; its figure could not be checked.",
    "A dry decade accounts for the rest – roughly 9 of the 41 centimetres.",
];
pub(super) const CLASSES: &[&str] = &[
    "{\"topic\": \"billing\",",
    "\"urgency\": \"high\", \"language\": \"en\",",
    "\"items\": [\"charged twice\", \"asks for a refund\"]}",
];
pub(super) const REPLY: &[&str] = &[
    "Thank you for writing, and sorry for the trouble.",
    "You were charged twice because the first payment looked as if it had failed.",
    "The second charge is being returned; your bank shows it within three working days.",
    "Your plan and your invoices stay as they are.",
];
pub(super) const CODE: &[&str] = &[
    "import csv, statistics\n",
    "rows = list(csv.DictReader(open('sales.csv')))\n",
    "by_region = {}\n",
    "for row in rows:\n    by_region.setdefault(row['region'], []).append(float(row['total']))\n",
    "for region, totals in sorted(by_region.items()):\n    print(region, round(statistics.median(totals), 2))\n",
];
pub(super) const FINDINGS: &[&str] = &[
    "The north sells more than the south for the first time, by a median of 1,204 € against 1,187 €.",
    "Nearly all of the growth comes from repeat customers; new ones buy as much as last year.",
    "The dip in week 32 is the holiday, as every year.",
    "Without the two largest orders the picture stays the same.",
];
pub(super) const DIGEST: &[&str] = &[
    "Forty-one tickets came in, fewer than on most Mondays.",
    "Six of them are about the new export; the cause is known and a fix is on its way.",
    "The slow search was not reported again after the index was rebuilt.",
    "Two customers ask for invoices as plain text – that is the fifth and sixth time this month.",
];
