"""How far back does each mixer remember?"""
