"""seqjax against the libraries that people would use instead.

`recurrent`, `attention`, `linear`, `training`, `decoding` and `generating` say
what each library is asked to do, `cell` checks that all give the same and times
them side by side, `medians` holds their medians over processes against the
bars.
"""
