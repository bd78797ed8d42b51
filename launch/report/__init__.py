"""The report: what runs are and have done, as one HTML page made on the user's computer.

    facts       what the page is made of, read from the store
    verdict     what the facts of a run mean, in sentences
    chart       lines as SVG
    curves      which lines: those of one run, and those of several over each other
    provenance  settings, digests, licence
    again       command lines that use its model, and that make it again
    cells       values as text
    page        the page of one run (run.html)
    comparison  the page of several runs (comparison.html)
    card        the model card of a pulled folder, likewise (card.md)
    download    what `pull` fetches, and the files that are made of it
    render      values through a template, all of which extend base.html
    bundle      an archive for a report of a bug
    private     takes out of it what is secret, and who wrote it

The page of a sweep is `launch.sweep.page` (sweep.html). Colours and dashes are those of
`mimir.output.palette`, which the picture and the notebook have too.

A machine wrote much of what the pages show: numbers are bounded where they are read, and all text
is escaped by the templates, which are the only places where HTML and Markdown are made.
"""
