"""What a person looks at, made from the records alone. No Ray, no torch."""

CONTACT_SHEET, CURVES = "contact_sheet.png", "curves.png"  # of a sweep, in its folder
