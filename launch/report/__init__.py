"""The report: what one run is and has done, as one HTML page made on the user's computer.

    facts     what the page is made of, read from the store
    verdict   what the facts mean, in sentences
    chart     curves as SVG
    page      the page: facts through a template (page.html)
    card      the model card of a pulled folder, likewise (card.md)

A machine wrote much of it: numbers are bounded where they are read, and all text is escaped by the
templates, which are the only places where HTML and Markdown are made.
"""
