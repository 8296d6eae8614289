// LearnersTests
