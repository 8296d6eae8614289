// What tests stand on: time that they move by hand, ids that they can foretell, a house in a folder of its own.
//
//   ManualTime   a TimeSource that moves only when a test moves it
//   TestHouse    database, store, caller and context of one test
