"""The report: what one run is and has done, as one HTML page made on the user's computer.

    facts     what the page is made of, read from the store
    verdict   what the facts mean, in sentences
    chart     curves as SVG
    page      the page: facts through a template (page.html)
    bundle    an archive for a report of a bug
    private   takes out of it what is secret, and who wrote it

A machine wrote much of it: numbers are bounded where they are read, and all text is escaped by the
template, which is the only place where HTML is made.
"""
