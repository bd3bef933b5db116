"""Conversations: questions about a micrograph with answers whose every sentence rests on a recorded fact.

levels.py      measured numbers to ordered levels         facts.py     what is known of one micrograph
lexicon.py     the phrases that state a fact              questions/   what is asked
frames.yaml    sentences around the phrases               measured.py  the teacher that words the record
claims.py      facts read back from any text              generate.py  the stage
teacher.py     what every teacher is
"""
